#include "qmgr/contain_judge.h"
#include "common/base/map.h"
#include "common/net/addr.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { FADE = 16, SKETCH_BITS = CONTAIN_SKETCH * 64 };

static const uint8_t public_key[16] = "estafeta habits";

static void
learn(struct contain_habit *h)
{
	if (h->now.messages == 0)
		return;
	h->recipients -= (h->recipients + FADE - 1) / FADE;
	h->domains -= (h->domains + FADE - 1) / FADE;
	if (h->now.recipients > h->recipients)
		h->recipients = h->now.recipients;
	if (h->now.domains > h->domains)
		h->domains = h->now.domains;
	h->spans += h->spans < UINT32_MAX;
}

static void
roll(struct contain_habit *h, const struct contain_limits *l, int64_t now_ms)
{
	int64_t passed = now_ms - h->began_ms;

	if (h->began_ms != 0 && passed < l->span_ms)
		return;
	learn(h);
	h->before = (struct contain_span){ 0 };
	if (h->began_ms != 0 && passed < 2 * l->span_ms)
		h->before = h->now;
	h->now = (struct contain_span){ 0 };
	h->is_elsewhere = false;
	h->began_ms = h->began_ms != 0 ? now_ms - passed % l->span_ms : now_ms;
}

static uint64_t
network_of(const char *address)
{
	struct sockaddr_storage a;
	uint64_t hash;

	if (!addr_parse(view_of(address), &a))
		return 0;
	if (a.ss_family == AF_INET)
		hash = siphash24(public_key, &((struct sockaddr_in *)&a)->sin_addr, 3);
	else
		hash = siphash24(public_key, &((struct sockaddr_in6 *)&a)->sin6_addr, 6);
	return hash != 0 ? hash : 1;
}

static void
note_network(struct contain_habit *h, uint64_t network)
{
	uint32_t at = 0;

	while (at < h->nnetworks && h->networks[at] != network)
		at++;
	if (at == h->nnetworks) {
		h->is_elsewhere |= at > 0;
		if (at == CONTAIN_NETWORKS)
			at--;
		else
			h->nnetworks++;
	}
	memmove(h->networks + 1, h->networks, at * sizeof h->networks[0]);
	h->networks[0] = network;
}

void
contain_note_message(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, const char *address)
{
	uint64_t network = network_of(address);

	roll(h, l, now_ms);
	h->now.messages++;
	if (network != 0)
		note_network(h, network);
}

void
contain_note_recipient(struct contain_habit *h, struct view domain)
{
	char lower[256];
	size_t len = domain.len < sizeof lower ? domain.len : sizeof lower;
	uint64_t bit, mask;

	for (size_t i = 0; i < len; i++)
		lower[i] = (char)ascii_lower((unsigned char)domain.p[i]);
	bit = siphash24(public_key, lower, len) % SKETCH_BITS;
	mask = (uint64_t)1 << bit % 64;
	h->now.recipients++;
	h->now.domains += !(h->now.seen[bit / 64] & mask);
	h->now.seen[bit / 64] |= mask;
}

void
contain_note_failures(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, uint32_t n)
{
	roll(h, l, now_ms);
	h->now.failures += n;
}

void
contain_note_refused(
    struct contain_habit *h, const struct contain_limits *l, int64_t now_ms, uint32_t n)
{
	contain_note_failures(h, l, now_ms, n);
	h->now.recipients += n;
}

bool
contain_counts_since(const struct contain_habit *h, const struct contain_limits *l, int64_t ms)
{
	return h->began_ms != 0 && ms >= h->began_ms - l->span_ms;
}

bool
contain_is_unusual(
    const struct contain_habit *h, const struct contain_limits *l, char why[CONTAIN_WHY])
{
	bool is_known = h->spans >= CONTAIN_LEARNED;
	uint64_t part = is_known && h->is_elsewhere ? 2 : 1;
	uint64_t recipients = (uint64_t)h->now.recipients + h->before.recipients;
	uint64_t failures = (uint64_t)h->now.failures + h->before.failures;
	const char *from = part == 2 ? ", from a new network" : "";

	if (failures * part >= l->failure_minimum &&
	    failures * part * 100 >= recipients * l->failure_percent) {
		snprintf(why, CONTAIN_WHY, "%llu of %llu recipients failed%s",
		    (unsigned long long)failures, (unsigned long long)recipients, from);
		return true;
	}
	if (!is_known)
		return false;
	if (h->now.recipients * part >= l->rate_minimum &&
	    h->now.recipients * part > (uint64_t)h->recipients * l->rate_factor) {
		snprintf(why, CONTAIN_WHY, "%u recipients in %lld s, %u were the most so far%s",
		    h->now.recipients, (long long)l->span_ms / 1000, h->recipients, from);
		return true;
	}
	if (h->now.domains * part >= l->domain_minimum &&
	    h->now.domains * part > (uint64_t)h->domains * l->domain_factor) {
		snprintf(why, CONTAIN_WHY,
		    "recipients of %u domains in %lld s, %u were the most so far%s", h->now.domains,
		    (long long)l->span_ms / 1000, h->domains, from);
		return true;
	}
	return false;
}

void
contain_accept_habit(struct contain_habit *h)
{
	learn(h);
	h->before = h->now = (struct contain_span){ 0 };
	h->is_elsewhere = false;
}
