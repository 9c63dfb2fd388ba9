#include "edge/tlsrpt.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/base/random.h"
#include "common/ipc/envelope.h"
#include "common/ipc/msg/qmgr.h"
#include "common/log/log.h"
#include "common/net/dns.h"
#include "common/proto/address.h"
#include "edge/kept_file.h"
#include "edge/tlsrpt_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

enum {
	DOMAINS_MAX = 20000, /* of one period, whether they want a report or not */
	POLICIES_MAX = 20,   /* of one report */
	DETAILS_MAX = 200,   /* of one policy */
	ROWS_MAX = 50000,    /* policies and details of all reports */
	TEXT_MAX = 200,      /* of a string in a report */
	FILE_BYTES = 64 << 20,
	TICK_MS = 1000,
	SAVE_MS = 10000, /* between writes of the file */
	SEND_PER_TICK = 20,
	SUBMIT_MS = 60000,
	DELAY_MAX = 14400, /* seconds; RFC 8460 4.1 */
	RETRY_SECONDS = 900,
	KEEP_SECONDS = 86400, /* RFC 8460 5.5 */
	TXT_MAX = 4096,
};

enum state { ASKING, WANTED, UNWANTED };

/* What is counted for one domain in one period. */
struct report {
	TAILQ_ENTRY(report) link;
	struct tlsrpt *tlsrpt;
	char domain[DNS_NAME_MAX];
	enum state state;
	int64_t start, end, due; /* seconds since 1970 */
	struct dns_query *query;
	struct ipc_call *call;
	char *addresses;  /* owned: lines */
	json_t *policies; /* owned */
};
TAILQ_HEAD(report_list, report);

struct tlsrpt {
	struct loop *loop;
	struct ipc_edge *dnsd, *qmgr;
	struct work_pool *pool;                    /* NULL: not started */
	char *file;                                /* owned */
	const char *organization, *contact, *from; /* borrowed */
	int64_t period;
	struct map open;             /* domain -> struct report of this period */
	struct report_list counting; /* those */
	struct report_list finished; /* of periods that are over */
	size_t nrows;
	bool is_dirty;
	int64_t saved_ms;
	struct loop_timer tick;
};

static int64_t
now_seconds(void)
{
	return clock_wall_ms() / 1000;
}

/* ---------------------------------------------------------------- counting */

/* Bytes of strangers, as JSON takes them. */
static json_t *
text_new(const char *s)
{
	struct view v = view_of(s);

	return json_string(lq(view_make(v.p, v.len < TEXT_MAX ? v.len : TEXT_MAX)));
}

static json_t *
lines_new(const char *lines)
{
	struct view rest = view_of(lines), line;
	json_t *a = json_array();

	while (view_token(&rest, "\n", &line))
		json_array_append_new(
		    a, json_string(lq(view_make(
			   line.p, line.len < DNS_NAME_MAX + 40 ? line.len : DNS_NAME_MAX + 40))));
	return a;
}

static void
add_one(json_t *object, const char *name)
{
	json_object_set_new(
	    object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

static json_t *
policy_new(const struct tlsrpt_result *r)
{
	static const char *const types[] = { "tlsa", "sts", "no-policy-found" };
	json_t *p =
	    json_pack("{s:s, s:s}", "policy-type", types[r->type], "policy-domain", r->domain);

	if (r->policy[0] != '\0')
		json_object_set_new(p, "policy-string", lines_new(r->policy));
	if (r->mx[0] != '\0')
		json_object_set_new(p, "mx-host", lines_new(r->mx));
	return p;
}

/* The element of the array whose part `name`, or all but its count, equals `like`; NULL: none. */
static json_t *
find_policy(const json_t *policies, const json_t *like)
{
	json_t *p;
	size_t i;

	json_array_foreach(
	    policies, i, p) if (json_equal(json_object_get(p, "policy"), like)) return p;
	return NULL;
}

static json_t *
policy_of(struct report *x, const struct tlsrpt_result *r)
{
	json_t *like = policy_new(r), *p = find_policy(x->policies, like);

	if (p == NULL && json_array_size(x->policies) < POLICIES_MAX &&
	    x->tlsrpt->nrows < ROWS_MAX) {
		p = json_pack("{s:O, s:{s:i, s:i}, s:[]}", "policy", like, "summary",
		    "total-successful-session-count", 0, "total-failure-session-count", 0,
		    "failure-details");
		json_array_append_new(x->policies, p);
		x->tlsrpt->nrows++;
	}
	json_decref(like);
	return p;
}

static json_t *
detail_new(const struct tlsrpt_result *r)
{
	const struct {
		const char *name, *value;
	} fields[] = { { "result-type", r->fault }, { "sending-mta-ip", r->local_ip },
		{ "receiving-mx-hostname", r->host }, { "receiving-ip", r->ip },
		{ "failure-reason-code", r->reason } };
	json_t *d = json_object();

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (fields[i].value[0] != '\0')
			json_object_set_new(d, fields[i].name, text_new(fields[i].value));
	return d;
}

static bool
is_same_detail(json_t *known, json_t *fresh)
{
	const char *name;
	json_t *value;

	if (json_object_size(known) != json_object_size(fresh) + 1)
		return false;
	json_object_foreach(
	    fresh, name, value) if (!json_equal(json_object_get(known, name), value)) return false;
	return true;
}

/* What there is no room for counts all the same, with the last that was told. */
static void
count_detail(struct report *x, json_t *details, const struct tlsrpt_result *r)
{
	json_t *fresh = detail_new(r), *d;
	size_t i, n = json_array_size(details);

	json_array_foreach(details, i, d) if (is_same_detail(d, fresh)) break;
	if (i == n && (n == 0 || (n < DETAILS_MAX && x->tlsrpt->nrows < ROWS_MAX))) {
		json_array_append(details, fresh);
		x->tlsrpt->nrows++;
	} else if (i == n) {
		i = n - 1;
	}
	add_one(json_array_get(details, i), "failed-session-count");
	json_decref(fresh);
}

static void
count(struct report *x, const struct tlsrpt_result *r)
{
	json_t *p = policy_of(x, r), *summary = json_object_get(p, "summary");

	if (p == NULL)
		return;
	if (r->fault[0] == '\0') {
		add_one(summary, "total-successful-session-count");
	} else {
		add_one(summary, "total-failure-session-count");
		count_detail(x, json_object_get(p, "failure-details"), r);
	}
	x->tlsrpt->is_dirty = true;
}

/* ---------------------------------------------------------------- reports */

static struct report *
report_new(struct tlsrpt *t, const char *domain, int64_t start, json_t *policies)
{
	struct report *x = x_calloc(1, sizeof *x);

	x->tlsrpt = t;
	snprintf(x->domain, sizeof x->domain, "%s", domain);
	x->start = start;
	x->end = start + t->period;
	x->policies = policies;
	return x;
}

/* Rows of policies and details. */
static size_t
rows_of(const struct report *x)
{
	size_t rows = json_array_size(x->policies), i;
	json_t *p;

	json_array_foreach(x->policies, i, p) rows +=
	    json_array_size(json_object_get(p, "failure-details"));
	return rows;
}

/* It is in no list any more. */
static void
report_free(struct report *x)
{
	x->tlsrpt->nrows -= rows_of(x);
	dns_cancel(x->query);
	ipc_call_cancel(x->call);
	json_decref(x->policies);
	free(x->addresses);
	free(x);
}

static void
on_record(void *arg, const struct dns_answer *a)
{
	struct report *x = arg;
	struct buf text, addresses;
	size_t found = 0;

	x->query = NULL;
	buf_init(&text, TXT_MAX);
	buf_init(&addresses, TLSRPT_RUA_BYTES);
	for (size_t i = 0; i < a->count; i++) {
		buf_reset(&text);
		if (dns_rdata_txt(a->rdata[i], &text) == 0 &&
		    view_starts(buf_view(&text), "v=TLSRPTv1"))
			found += tlsrpt_record_read(buf_view(&text), &addresses) ? 1 : 2;
	}
	if (found == 1 && addresses.len > 0) { /* RFC 8460 3: one record, or none */
		x->state = WANTED;
		x->addresses = x_strdup(buf_cstr(&addresses));
	} else {
		x->state = UNWANTED;
		x->tlsrpt->nrows -= rows_of(x);
		json_array_clear(x->policies);
	}
	buf_clear(&addresses);
	buf_clear(&text);
}

static void
ask(struct report *x)
{
	char *name = x_asprintf("_smtp._tls.%s", x->domain);

	x->query = dns_lookup(x->tlsrpt->dnsd, name, DNS_TXT, on_record, x);
	free(name);
}

static void end_period(struct tlsrpt *t);

void
tlsrpt_count(struct tlsrpt *t, const struct tlsrpt_result *r)
{
	struct report *x;
	int64_t now = now_seconds();

	end_period(t);
	x = map_get(&t->open, view_of(r->domain));
	if (x == NULL) {
		if (t->open.count >= DOMAINS_MAX)
			return;
		x = report_new(t, r->domain, now - now % t->period, json_array());
		map_put(&t->open, view_of(x->domain), x);
		TAILQ_INSERT_TAIL(&t->counting, x, link);
		ask(x);
	}
	if (x->state != UNWANTED)
		count(x, r);
}

/* Those whose time is over go to the finished ones, if anybody wants them. */
static void
end_period(struct tlsrpt *t)
{
	struct report *x;
	int64_t now = now_seconds(), most = t->period / 6;

	while ((x = TAILQ_FIRST(&t->counting)) != NULL && x->end <= now) {
		TAILQ_REMOVE(&t->counting, x, link);
		map_remove(&t->open, view_of(x->domain));
		if (x->state == UNWANTED ||
		    (x->state == WANTED && json_array_size(x->policies) == 0)) {
			report_free(x);
			continue;
		}
		x->due = now + random_below((uint32_t)(most < DELAY_MAX ? most : DELAY_MAX) + 1);
		TAILQ_INSERT_TAIL(&t->finished, x, link);
		t->is_dirty = true;
	}
}

/* ---------------------------------------------------------------- mail */

static void
report_drop(struct report *x)
{
	TAILQ_REMOVE(&x->tlsrpt->finished, x, link);
	x->tlsrpt->is_dirty = true;
	report_free(x);
}

static void
on_submitted(void *arg, struct ipc_in *in)
{
	struct report *x = arg;
	uint32_t status = in != NULL ? ipc_get_u32(in) : QMGR_TEMP;
	const char *id = in != NULL ? ipc_get_str(in) : "";

	x->call = NULL;
	if (status == QMGR_OK) {
		log_info("%s: TLS report of %s", id, x->domain);
		report_drop(x);
		return;
	}
	log_warn("TLS report of %s is not taken by qmgr: %s", x->domain,
	    in != NULL ? lqs(ipc_get_str(in)) : "no answer");
	x->due = now_seconds() + RETRY_SECONDS;
	if (x->due > x->end + KEEP_SECONDS)
		report_drop(x);
}

static int
memfd_of_recipients(const struct report *x, struct err *err)
{
	char *list = x_strdup(x->addresses);
	size_t len = strlen(list);
	int fd;

	for (size_t i = 0; i < len; i++)
		if (list[i] == '\n')
			list[i] = '\0';
	fd = memfd_sealed("recipients", list, len, err);
	free(list);
	return fd;
}

static void
submit(struct report *x, int content, int recipients)
{
	struct ipc_out o;

	ipc_out_init(&o, QMGR_CTL_SUBMIT);
	ipc_put_str(&o, x->tlsrpt->from);
	ipc_put_u32(&o, ENVELOPE_TLS_OPTIONAL); /* RFC 8460 5.3 */
	ipc_put_str(&o, "");
	ipc_put_fd(&o, content);
	ipc_put_fd(&o, recipients);
	x->call = ipc_edge_call(x->tlsrpt->qmgr, &o, "uss", SUBMIT_MS, on_submitted, x);
}

static void
send_report(struct report *x)
{
	const struct tlsrpt *t = x->tlsrpt;
	char id[2 * DNS_NAME_MAX];
	struct tlsrpt_report r = { .domain = x->domain,
		.organization = t->organization,
		.contact = t->contact,
		.from = t->from,
		.addresses = x->addresses,
		.id = id,
		.start = x->start,
		.end = x->end,
		.policies = x->policies };
	struct buf text;
	struct err err;
	int content = -1, recipients = -1;

	/* the same at each attempt: a report that came twice is known by it */
	snprintf(id, sizeof id, "%lld.%s@%s", (long long)x->start, x->domain,
	    address_domain(t->contact));
	buf_init(&text, TLSRPT_MESSAGE_BYTES);
	if (tlsrpt_message_write(&r, &text, &err) < 0 ||
	    (content = memfd_sealed("report", text.p, text.len, &err)) < 0 ||
	    (recipients = memfd_of_recipients(x, &err)) < 0) {
		log_warn("TLS report of %s: %s", x->domain, err.text);
		x->due = now_seconds() + RETRY_SECONDS;
	} else {
		submit(x, content, recipients);
	}
	fd_close(&content);
	fd_close(&recipients);
	buf_clear(&text);
}

static void
send_due(struct tlsrpt *t)
{
	struct report *x, *next;
	unsigned sent = 0;

	for (x = TAILQ_FIRST(&t->finished); x != NULL && sent < SEND_PER_TICK; x = next) {
		next = TAILQ_NEXT(x, link);
		if (x->state == UNWANTED) {
			report_drop(x);
		} else if (x->state == WANTED && x->call == NULL && x->due <= now_seconds()) {
			send_report(x);
			sent++;
		}
	}
}

/* ---------------------------------------------------------------- the file */

static void
save_list(const struct report_list *list, json_t *all)
{
	const struct report *x;

	TAILQ_FOREACH (x, list, link)
		if (x->state == WANTED && json_array_size(x->policies) > 0)
			json_array_append_new(
			    all, json_pack("{s:s, s:I, s:I, s:s, s:O}", "domain", x->domain,
				     "start", (json_int_t)x->start, "end", (json_int_t)x->end,
				     "addresses", x->addresses, "policies", x->policies));
}

static void
save(struct tlsrpt *t)
{
	json_t *all = json_array();
	struct buf text;
	char *dump;

	save_list(&t->counting, all);
	save_list(&t->finished, all);
	dump = json_dumps(all, JSON_COMPACT);
	json_decref(all);
	buf_init(&text, FILE_BYTES);
	if (dump != NULL && buf_append_str(&text, dump) == 0) {
		char *fresh = x_asprintf("%s.new", t->file);

		kept_file_write(t->pool, t->file, fresh, &text);
		free(fresh);
	}
	buf_clear(&text);
	free(dump);
	t->is_dirty = false;
	t->saved_ms = clock_mono_ms();
}

static bool
load_one(struct tlsrpt *t, const json_t *one)
{
	const char *domain, *addresses;
	json_int_t start, end;
	json_t *policies;
	struct report *x;

	if (json_unpack((json_t *)(uintptr_t)one, "{s:s, s:I, s:I, s:s, s:o}", "domain", &domain,
		"start", &start, "end", &end, "addresses", &addresses, "policies", &policies) < 0 ||
	    !json_is_array(policies) || strlen(domain) >= DNS_NAME_MAX ||
	    map_get(&t->open, view_of(domain)) != NULL)
		return false;
	x = report_new(t, domain, start, json_incref(policies));
	x->state = WANTED;
	x->end = end;
	x->addresses = x_strdup(addresses);
	t->nrows += rows_of(x);
	if (end > now_seconds() && end - start == t->period) {
		map_put(&t->open, view_of(x->domain), x);
		TAILQ_INSERT_TAIL(&t->counting, x, link);
	} else {
		TAILQ_INSERT_TAIL(&t->finished, x, link);
	}
	return true;
}

static void
load(struct tlsrpt *t)
{
	struct buf text;
	struct err err;
	json_t *all, *one;
	size_t i, bad = 0;

	buf_init(&text, FILE_BYTES);
	if (file_read(t->file, &text, &err) < 0) {
		if (err.kind != ERR_GONE)
			log_warn("TLS reports of before are not known: %s", err.text);
		buf_clear(&text);
		return;
	}
	all = json_loadb(text.p != NULL ? text.p : "", text.len, 0, NULL);
	bad = !json_is_array(all);
	json_array_foreach(all, i, one) bad += !load_one(t, one);
	if (bad > 0)
		log_warn("%s: damaged, %zu reports are lost", t->file, bad);
	json_decref(all);
	buf_clear(&text);
}

/* ---------------------------------------------------------------- life */

static void
on_tick(void *arg)
{
	struct tlsrpt *t = arg;

	end_period(t);
	send_due(t);
	if (t->is_dirty && clock_mono_ms() - t->saved_ms >= SAVE_MS)
		save(t);
	loop_timer_start(&t->tick, TICK_MS);
}

static int
check_address(const struct conf *conf, const char *name, struct err *err)
{
	struct address a;

	if (address_parse(view_of(conf_str(conf, name)), 0, &a, err) == 0 && a.domain[0] != '\0' &&
	    a.domain[0] != '[')
		return 0;
	return err_set(err, ERR_PERM, "%s: \"%s\" is no mail address", name, conf_str(conf, name));
}

struct tlsrpt *
tlsrpt_new(struct loop *l, struct ipc_edge *dnsd, struct ipc_edge *qmgr, const struct conf *conf,
    const char *file, struct err *err)
{
	struct tlsrpt *t;

	if (check_address(conf, "tlsrpt_report_from", err) < 0 ||
	    check_address(conf, "tlsrpt_contact_info", err) < 0)
		return NULL;
	t = x_calloc(1, sizeof *t);
	t->loop = l;
	t->dnsd = dnsd;
	t->qmgr = qmgr;
	t->file = x_strdup(file);
	t->organization = conf_str(conf, "tlsrpt_organization");
	t->contact = conf_str(conf, "tlsrpt_contact_info");
	t->from = conf_str(conf, "tlsrpt_report_from");
	t->period = conf_seconds(conf, "tlsrpt_period");
	map_init(&t->open);
	TAILQ_INIT(&t->counting);
	TAILQ_INIT(&t->finished);
	loop_timer_init(&t->tick, l, on_tick, t);
	return t;
}

void
tlsrpt_start(struct tlsrpt *t, struct work_pool *pool)
{
	t->pool = pool;
	load(t);
	on_tick(t);
}

void
tlsrpt_free(struct tlsrpt *t)
{
	struct report *x;

	if (t == NULL)
		return;
	loop_timer_stop(&t->tick);
	if (t->pool != NULL && t->is_dirty)
		save(t);
	while ((x = TAILQ_FIRST(&t->counting)) != NULL) {
		TAILQ_REMOVE(&t->counting, x, link);
		report_free(x);
	}
	while ((x = TAILQ_FIRST(&t->finished)) != NULL)
		report_drop(x);
	map_clear(&t->open);
	free(t->file);
	free(t);
}
