#include "edge/fetchd.h"
#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/base/mem.h"
#include "common/ipc/msg/fetch.h"
#include "common/log/log.h"
#include "common/net/addr.h"
#include "common/net/dns.h"
#include "common/proto/address.h"
#include "edge/https.h"
#include "edge/sts_files.h"
#include "edge/tlsrpt.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

enum {
	FETCH_MS = 60000, /* RFC 8461 3.3 */
	CONNECT_MS = 10000,
	PAUSE_MS = 300000,   /* after a failure, for the same id (RFC 8461 3.3) */
	REFRESH_MAX = 86400, /* seconds; RFC 8461 10.2 */
	FETCHES_MAX = 500,   /* at a time */
	QUESTIONS_MAX = 20000,
	ADDRESSES_MAX = 8,      /* of one host that are tried */
	CACHE_BYTES = 32 << 20, /* of all policies */
	DOMAIN_BYTES = 1024,    /* what a domain counts for beside its patterns */
	CARE_MS = 5000,         /* between looks for what has expired */
	HOST_PREFIX = 8,        /* "mta-sts." */
	DOMAIN_MAX = DNS_NAME_MAX - 1 - HOST_PREFIX,
};

struct question {
	TAILQ_ENTRY(question) link;
	struct ipc_conn *conn; /* borrowed */
	uint32_t id;
};

/* On its way, or waiting for its turn. */
struct fetch {
	TAILQ_ENTRY(fetch) link;
	struct domain *domain;
	char id[STS_ID_MAX + 1];
	bool is_running;
	struct dns_query *a, *aaaa;
	struct sockaddr_storage addresses[ADDRESSES_MAX];
	size_t naddresses, at;
	bool has_private;
	struct https_get *get;
	struct loop_timer limit;
	int64_t deadline_ms;
	char why[300];              /* of the last failure */
	enum fetch_sts_fault fault; /* the same */
};
TAILQ_HEAD(fetch_list, fetch);

struct domain {
	TAILQ_ENTRY(domain) link;
	struct fetchd *fetchd;
	char name[DNS_NAME_MAX];
	bool has_policy;
	struct sts_kept kept; /* while has_policy */
	bool is_wanted;       /* asked for since it was fetched */
	char failed_id[STS_ID_MAX + 1];
	enum fetch_sts_fault fault; /* of that one */
	int64_t paused_until_ms;
	struct fetch *fetch; /* owned; NULL: none */
	TAILQ_HEAD(, question) questions;
};

struct fetchd {
	struct loop *loop;
	struct ipc_edge *dnsd;
	struct https *https; /* owned */
	char *directory;     /* owned */
	struct work_pool *pool;
	struct tlsrpt *tlsrpt; /* owned; NULL: no reports */
	struct map by_name;
	TAILQ_HEAD(, domain) domains; /* asked for longest ago first */
	size_t bytes, nquestions;
	struct fetch_list running, waiting;
	size_t nrunning;
	bool allows_private;
	struct loop_timer care;
};

static int64_t
wall_seconds(void)
{
	return clock_wall_ms() / 1000;
}

/* ---------------------------------------------------------------- domains */

static struct domain *
domain_find(struct fetchd *f, const char *name)
{
	return map_get(&f->by_name, view_of(name));
}

static struct domain *
domain_new(struct fetchd *f, const char *name)
{
	struct domain *d = x_calloc(1, sizeof *d);

	d->fetchd = f;
	snprintf(d->name, sizeof d->name, "%s", name);
	TAILQ_INIT(&d->questions);
	map_put(&f->by_name, view_of(d->name), d);
	TAILQ_INSERT_TAIL(&f->domains, d, link);
	f->bytes += DOMAIN_BYTES;
	return d;
}

static void
forget_policy(struct domain *d)
{
	if (!d->has_policy)
		return;
	d->fetchd->bytes -= d->kept.policy.mx.len;
	sts_policy_clear(&d->kept.policy);
	d->has_policy = false;
}

static void
drop_policy(struct domain *d)
{
	if (d->has_policy)
		sts_files_remove(d->fetchd->pool, d->fetchd->directory, d->name);
	forget_policy(d);
}

/* Takes kept->policy. */
static void
set_policy(struct domain *d, const struct sts_kept *kept)
{
	forget_policy(d);
	d->kept = *kept;
	d->has_policy = true;
	d->fetchd->bytes += d->kept.policy.mx.len;
}

/* Nobody waits for it. */
static void
domain_free(struct domain *d)
{
	struct fetchd *f = d->fetchd;

	forget_policy(d);
	map_remove(&f->by_name, view_of(d->name));
	TAILQ_REMOVE(&f->domains, d, link);
	f->bytes -= DOMAIN_BYTES;
	free(d);
}

static bool
is_expired(const struct domain *d)
{
	return wall_seconds() >= d->kept.fetched + d->kept.policy.max_age;
}

/* What nobody has asked for longest makes room. */
static void
make_room(struct fetchd *f)
{
	struct domain *d, *next;

	for (d = TAILQ_FIRST(&f->domains); d != NULL && f->bytes > CACHE_BYTES; d = next) {
		next = TAILQ_NEXT(d, link);
		if (d->fetch == NULL) {
			drop_policy(d);
			domain_free(d);
		}
	}
}

/* ---------------------------------------------------------------- answers */

static void
answer(struct ipc_conn *c, uint32_t id, const struct domain *d)
{
	const struct sts_kept *k = d != NULL && d->has_policy ? &d->kept : NULL;
	struct ipc_out o;

	ipc_reply_init(&o);
	ipc_put_u32(&o, k != NULL ? k->policy.mode : STS_NONE);
	ipc_put_str(&o, k != NULL ? k->id : "");
	ipc_put_view_str(&o, k != NULL ? buf_view(&k->policy.mx) : VIEW_LIT(""));
	ipc_put_u32(
	    &o, d != NULL && k == NULL && d->failed_id[0] != '\0' ? d->fault : FETCH_STS_GOOD);
	ipc_conn_reply(c, id, &o);
}

static void
question_free(struct domain *d, struct question *q)
{
	TAILQ_REMOVE(&d->questions, q, link);
	d->fetchd->nquestions--;
	free(q);
}

static void
answer_all(struct domain *d)
{
	struct question *q;

	while ((q = TAILQ_FIRST(&d->questions)) != NULL) {
		answer(q->conn, q->id, d);
		question_free(d, q);
	}
}

/* ---------------------------------------------------------------- a fetch */

static void run_waiting(struct fetchd *f);

static void
fetch_free(struct fetch *x)
{
	struct fetchd *f = x->domain->fetchd;

	dns_cancel(x->a);
	dns_cancel(x->aaaa);
	https_get_cancel(x->get);
	loop_timer_stop(&x->limit);
	TAILQ_REMOVE(x->is_running ? &f->running : &f->waiting, x, link);
	f->nrunning -= x->is_running;
	x->domain->fetch = NULL;
	free(x);
}

/* The end of a fetch, well or not. */
static void
fetch_done(struct fetch *x)
{
	struct domain *d = x->domain;
	struct fetchd *f = d->fetchd;

	fetch_free(x);
	answer_all(d);
	make_room(f);
	run_waiting(f);
}

static void
fetch_failed(struct fetch *x)
{
	struct domain *d = x->domain;

	log_info("MTA-STS policy of %s cannot be fetched: %s%s", d->name, lqs(x->why),
	    d->has_policy ? "; the one that is known goes on" : "");
	snprintf(d->failed_id, sizeof d->failed_id, "%s", x->id);
	d->fault = x->fault;
	d->paused_until_ms = clock_mono_ms() + PAUSE_MS;
	fetch_done(x);
}

static void
fetch_succeeded(struct fetch *x, struct view text)
{
	struct domain *d = x->domain;
	struct sts_kept kept = { .fetched = wall_seconds() };
	struct err err;

	if (sts_policy_read(text, &kept.policy, &err) < 0) {
		sts_policy_clear(&kept.policy);
		snprintf(x->why, sizeof x->why, "%s", err.text);
		x->fault = FETCH_STS_INVALID;
		fetch_failed(x);
		return;
	}
	snprintf(kept.id, sizeof kept.id, "%s", x->id);
	set_policy(d, &kept);
	d->is_wanted = false;
	d->failed_id[0] = '\0';
	log_info("MTA-STS policy of %s: mode %s, id %s, max_age %u", d->name,
	    sts_mode_name(kept.policy.mode), kept.id, kept.policy.max_age);
	sts_files_write(d->fetchd->pool, d->fetchd->directory, d->name, &d->kept);
	fetch_done(x);
}

static void try_address(struct fetch *x);

static void
on_get(void *arg, enum https_status status, struct view body, const char *why)
{
	struct fetch *x = arg;

	x->get = NULL;
	if (status == HTTPS_OK) {
		fetch_succeeded(x, body);
		return;
	}
	snprintf(x->why, sizeof x->why, "%s", why);
	x->fault = status == HTTPS_UNTRUSTED ? FETCH_STS_UNTRUSTED : FETCH_STS_UNREACHED;
	if (status == HTTPS_UNREACHABLE)
		try_address(x);
	else
		fetch_failed(x);
}

static void
try_address(struct fetch *x)
{
	char host[DNS_NAME_MAX];
	struct https_request r = { .host = host,
		.path = "/.well-known/mta-sts.txt",
		.media_type = "text/plain",
		.max_bytes = STS_POLICY_BYTES,
		.connect_ms = CONNECT_MS };

	if (x->at == x->naddresses) {
		fetch_failed(x);
		return;
	}
	r.address = &x->addresses[x->at++];
	r.total_ms = x->deadline_ms - clock_mono_ms();
	if (r.total_ms < 1)
		r.total_ms = 1;
	snprintf(host, sizeof host, "mta-sts.%.*s", DOMAIN_MAX, x->domain->name);
	x->get = https_get_start(x->domain->fetchd->https, &r, on_get, x);
}

static void
on_limit(void *arg)
{
	struct fetch *x = arg;

	snprintf(x->why, sizeof x->why, "it takes too long");
	fetch_failed(x);
}

/* ---------------------------------------------------------------- addresses */

static bool
is_private(const struct sockaddr_storage *a)
{
	/* RFC 6890 and its like: no stranger's server is there */
	static const char *const networks[] = { "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
		"127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16",
		"198.18.0.0/15", "224.0.0.0/3", "[2002::]/16", "![2000::]/3", "[::]/0" };
	struct net_prefix list[sizeof networks / sizeof networks[0]];
	struct err err;

	for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++)
		if (net_prefix_parse(view_of(networks[i]), &list[i], &err) < 0)
			bug("%s: %s", networks[i], err.text);
	return net_list_match(list, sizeof list / sizeof list[0], a);
}

static void
take_addresses(struct fetch *x, const struct dns_answer *a)
{
	struct sockaddr_storage one;

	for (size_t i = 0; i < a->count && x->naddresses < ADDRESSES_MAX; i++) {
		if (!dns_rdata_addr(a->rdata[i], &one))
			continue;
		if (!x->domain->fetchd->allows_private && is_private(&one))
			x->has_private = true;
		else
			x->addresses[x->naddresses++] = one;
	}
}

static void
on_addresses(struct fetch *x, const struct dns_answer *a)
{
	take_addresses(x, a);
	if (x->a != NULL || x->aaaa != NULL)
		return;
	snprintf(x->why, sizeof x->why, "mta-sts.%s has no %saddress", x->domain->name,
	    x->has_private ? "public " : "");
	try_address(x);
}

static void
on_a(void *arg, const struct dns_answer *a)
{
	struct fetch *x = arg;

	x->a = NULL;
	on_addresses(x, a);
}

static void
on_aaaa(void *arg, const struct dns_answer *a)
{
	struct fetch *x = arg;

	x->aaaa = NULL;
	on_addresses(x, a);
}

/* ---------------------------------------------------------------- which fetches run */

static void
fetch_run(struct fetch *x)
{
	struct fetchd *f = x->domain->fetchd;
	char host[DNS_NAME_MAX];

	TAILQ_REMOVE(&f->waiting, x, link);
	TAILQ_INSERT_TAIL(&f->running, x, link);
	x->is_running = true;
	f->nrunning++;
	x->deadline_ms = clock_mono_ms() + FETCH_MS;
	loop_timer_start(&x->limit, FETCH_MS);
	snprintf(host, sizeof host, "mta-sts.%.*s", DOMAIN_MAX, x->domain->name);
	x->a = dns_lookup(f->dnsd, host, DNS_A, on_a, x);
	x->aaaa = dns_lookup(f->dnsd, host, DNS_AAAA, on_aaaa, x);
}

static void
run_waiting(struct fetchd *f)
{
	struct fetch *x;

	while (f->nrunning < FETCHES_MAX && (x = TAILQ_FIRST(&f->waiting)) != NULL)
		fetch_run(x);
}

static void
fetch_start(struct domain *d, const char *id)
{
	struct fetchd *f = d->fetchd;
	struct fetch *x = x_calloc(1, sizeof *x);

	x->domain = d;
	x->fault = FETCH_STS_UNREACHED;
	d->fetch = x;
	snprintf(x->id, sizeof x->id, "%s", id);
	loop_timer_init(&x->limit, f->loop, on_limit, x);
	TAILQ_INSERT_TAIL(&f->waiting, x, link);
	run_waiting(f);
}

static bool
is_paused(const struct domain *d, const char *id)
{
	return strcmp(d->failed_id, id) == 0 && clock_mono_ms() < d->paused_until_ms;
}

/* ---------------------------------------------------------------- callers */

static bool
is_question_valid(const char *domain, const char *id)
{
	size_t len = strlen(domain);

	return len <= DOMAIN_MAX && domain[0] != '[' && hostname_is_valid(view_of(domain), true) &&
	       (id[0] == '\0' || sts_id_is_valid(view_of(id)));
}

/* Is another fetch needed to answer? */
static bool
wants_fetch(const struct domain *d, const char *id)
{
	return id[0] != '\0' && !(d->has_policy && strcmp(d->kept.id, id) == 0) &&
	       !is_paused(d, id) && d->fetchd->nquestions < QUESTIONS_MAX;
}

static void
ask(struct domain *d, struct ipc_conn *c, uint32_t question, const char *id)
{
	struct question *q = x_calloc(1, sizeof *q);

	q->conn = c;
	q->id = question;
	TAILQ_INSERT_TAIL(&d->questions, q, link);
	d->fetchd->nquestions++;
	if (d->fetch == NULL)
		fetch_start(d, id);
}

static void
on_question(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fetchd *f = arg;
	char name[DNS_NAME_MAX];
	const char *domain = ipc_get_str(in), *id = ipc_get_str(in);
	struct domain *d;

	if (!is_question_valid(domain, id)) {
		answer(c, in->id, NULL);
		return;
	}
	snprintf(name, sizeof name, "%s", domain);
	ascii_lower_str(name);
	d = domain_find(f, name);
	if (d == NULL && id[0] == '\0') {
		answer(c, in->id, NULL);
		return;
	}
	if (d == NULL)
		d = domain_new(f, name);
	TAILQ_REMOVE(&f->domains, d, link);
	TAILQ_INSERT_TAIL(&f->domains, d, link);
	if (d->has_policy && is_expired(d))
		drop_policy(d);
	d->is_wanted = true;
	if (wants_fetch(d, id))
		ask(d, c, in->id, id);
	else
		answer(c, in->id, d);
	make_room(f);
}

/* What relay knows of a policy is what it needs of it: the whole is here. */
static void
on_tls_result(void *arg, struct ipc_conn *c, struct ipc_in *in)
{
	struct fetchd *f = arg;
	struct tlsrpt_result r = { .domain = ipc_get_str(in) };
	uint32_t type = ipc_get_u32(in);
	const struct domain *d;
	struct buf policy, mx;

	(void)c;
	r.policy = ipc_get_str(in);
	r.fault = ipc_get_str(in);
	r.reason = ipc_get_str(in);
	r.local_ip = ipc_get_str(in);
	r.host = ipc_get_str(in);
	r.ip = ipc_get_str(in);
	r.mx = "";
	r.type = type <= FETCH_NO_POLICY ? (enum fetch_tls_policy)type : FETCH_NO_POLICY;
	if (f->tlsrpt == NULL || !is_question_valid(r.domain, ""))
		return;
	d = domain_find(f, r.domain);
	buf_init(&policy, STS_POLICY_BYTES);
	buf_init(&mx, STS_MX_BYTES);
	if (r.type == FETCH_STS && d != NULL && d->has_policy) {
		sts_policy_write(&d->kept.policy, &policy);
		buf_append_view(&mx, buf_view(&d->kept.policy.mx));
		r.policy = buf_cstr(&policy);
		r.mx = buf_cstr(&mx);
	}
	if (r.policy != NULL && r.mx != NULL)
		tlsrpt_count(f->tlsrpt, &r);
	buf_clear(&policy);
	buf_clear(&mx);
}

static void
on_caller_close(void *arg, struct ipc_conn *c, const struct err *why)
{
	struct fetchd *f = arg;
	struct domain *d;

	(void)why;
	TAILQ_FOREACH (d, &f->domains, link) {
		struct question *q, *next;

		for (q = TAILQ_FIRST(&d->questions); q != NULL; q = next) {
			next = TAILQ_NEXT(q, link);
			if (q->conn == c)
				question_free(d, q);
		}
	}
}

static const struct ipc_handler caller_rows[] = {
	{ FETCH_STS_POLICY, "ss", IPC_STATE_ANY, on_question },
	{ FETCH_TLS_RESULT, FETCH_TLS_SIG, IPC_STATE_ANY, on_tls_result },
	{ 0, NULL, 0, NULL },
};
const struct ipc_conn_ops fetchd_caller_ops = { caller_rows, on_caller_close };

void
fetchd_caller_open(void *arg, struct ipc_conn *c)
{
	ipc_conn_set_arg(c, arg);
}

/* ---------------------------------------------------------------- what time brings */

/* RFC 8461 10.2: before it expires, or an attacker need only keep the next fetch from us. */
static bool
is_due(const struct domain *d)
{
	int64_t half = d->kept.policy.max_age / 2;

	return d->is_wanted && !is_paused(d, d->kept.id) &&
	       wall_seconds() >= d->kept.fetched + (half < REFRESH_MAX ? half : REFRESH_MAX);
}

static void
care_for(struct domain *d)
{
	if (d->fetch != NULL)
		return;
	if (d->has_policy && is_expired(d))
		drop_policy(d);
	if (!d->has_policy && clock_mono_ms() >= d->paused_until_ms)
		domain_free(d);
	else if (d->has_policy && is_due(d))
		fetch_start(d, d->kept.id);
}

static void
on_care(void *arg)
{
	struct fetchd *f = arg;
	struct domain *d, *next;

	for (d = TAILQ_FIRST(&f->domains); d != NULL; d = next) {
		next = TAILQ_NEXT(d, link);
		care_for(d);
	}
	loop_timer_start(&f->care, CARE_MS);
}

/* ---------------------------------------------------------------- life */

struct fetchd *
fetchd_new(struct loop *l, struct ipc_edge *dnsd, struct ipc_edge *qmgr, const struct conf *conf,
    const char *directory, struct err *err)
{
	struct fetchd *f = x_calloc(1, sizeof *f);

	f->loop = l;
	f->dnsd = dnsd;
	f->directory = x_asprintf("%s/sts", directory);
	f->allows_private = conf_bool(conf, "fetch_private_addresses");
	map_init(&f->by_name);
	TAILQ_INIT(&f->domains);
	TAILQ_INIT(&f->running);
	TAILQ_INIT(&f->waiting);
	loop_timer_init(&f->care, l, on_care, f);
	f->https = https_new(l, conf_str(conf, "smtp_tls_CAfile"), err);
	if (f->https != NULL && conf_bool(conf, "tlsrpt_enable")) {
		char *file = x_asprintf("%s/tlsrpt", directory);

		f->tlsrpt = tlsrpt_new(l, dnsd, qmgr, conf, file, err);
		free(file);
	}
	if (f->https != NULL && (f->tlsrpt != NULL || !conf_bool(conf, "tlsrpt_enable")))
		return f;
	fetchd_free(f);
	return NULL;
}

static void
take_kept(void *arg, const char *domain, struct sts_kept *kept)
{
	struct fetchd *f = arg;

	if (is_question_valid(domain, kept->id) && domain_find(f, domain) == NULL)
		set_policy(domain_new(f, domain), kept);
	else
		sts_policy_clear(&kept->policy);
}

void
fetchd_start(struct fetchd *f)
{
	struct err err;

	if (sts_files_load(f->directory, take_kept, f, &err) < 0)
		log_warn("MTA-STS policies of before are not known: %s", err.text);
	f->pool = work_pool_new(f->loop, 1);
	make_room(f);
	if (f->tlsrpt != NULL)
		tlsrpt_start(f->tlsrpt, f->pool);
	on_care(f);
}

void
fetchd_free(struct fetchd *f)
{
	struct domain *d;
	struct question *q;

	while ((d = TAILQ_FIRST(&f->domains)) != NULL) {
		if (d->fetch != NULL)
			fetch_free(d->fetch);
		while ((q = TAILQ_FIRST(&d->questions)) != NULL)
			question_free(d, q);
		domain_free(d);
	}
	loop_timer_stop(&f->care);
	tlsrpt_free(f->tlsrpt);
	if (f->pool != NULL)
		work_pool_free(f->pool);
	https_free(f->https);
	map_clear(&f->by_name);
	free(f->directory);
	free(f);
}
