#include "smtpd/screen.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/anvil_client.h"
#include "smtpd/dnsbl.h"
#include "smtpd/lookup.h"
#include "smtpd/session.h"

#include <stdio.h>
#include <stdlib.h>

#define BIT(test) (1u << (test))

enum {
	BEFORE_GREETING = BIT(ANVIL_SCREEN_PREGREET) | BIT(ANVIL_SCREEN_DNSBL),
	SITES_MAX = 100,
	QUOTE_MAX = 100, /* of what the client said, for the log */
};

/* A question to one DNS list. */
struct probe {
	struct smtpd_session *session;
	const struct dnsbl_site *site;
	struct dnsbl_lookup *lookup; /* owned */
};

struct smtpd_screen {
	gate_then *then; /* NULL: the gate is passed */
	struct anvil_call *call;
	struct loop_timer timer;
	int64_t start_ms;
	unsigned todo, failed; /* bit masks of enum anvil_screen_test */
	int64_t until[ANVIL_SCREEN_TESTS];
	bool is_greeting; /* the client has to be silent */
	bool is_told;     /* PASS NEW was logged: one line a client */
	struct probe *probes;
	size_t nprobes, npending;
	bool is_unsure; /* a list could not be asked */
	int score;
	const char *listed_by; /* the first that said yes and counts against the client */
	bool has_verdict;      /* action enforce: refuses every recipient */
	const char *dsn;
	char text[300];
};

/* --- configuration -------------------------------------------------------------------------------------------- */

static enum screen_action
read_action(const struct conf *conf, const char *name)
{
	const char *word = conf_str(conf, name);

	return strcmp(word, "drop") == 0      ? SCREEN_DROP
	       : strcmp(word, "enforce") == 0 ? SCREEN_ENFORCE
					      : SCREEN_IGNORE;
}

static void
read_test(struct screen_config *c, const struct conf *conf, enum anvil_screen_test test,
    const char *enable, const char *action, const char *ttl)
{
	if (enable == NULL || conf_bool(conf, enable))
		c->tests |= BIT(test);
	c->actions[test] = read_action(conf, action);
	c->ttl[test] = conf_seconds(conf, ttl);
}

static int
read_sites(struct screen_config *c, const struct conf *conf, struct err *err)
{
	struct view rest = view_of(conf_str(conf, "postscreen_dnsbl_sites")), item;

	while (conf_next(&rest, &item)) {
		if (c->nsites == SITES_MAX)
			return err_set(err, ERR_SYNTAX,
			    "postscreen_dnsbl_sites: more than %d lists", SITES_MAX);
		c->sites = x_realloc(c->sites, c->nsites + 1, sizeof *c->sites);
		if (dnsbl_site_parse(item, &c->sites[c->nsites++], err) < 0)
			return err_prefix(err, "postscreen_dnsbl_sites");
	}
	if (c->nsites > 0)
		c->tests |= BIT(ANVIL_SCREEN_DNSBL);
	return 0;
}

static int
read_access(struct screen_config *c, const struct conf *conf, struct err *err)
{
	static const char name[] = "postscreen_access_list";
	struct view rest = view_of(conf_str(conf, name)), item;

	while (conf_next(&rest, &item)) {
		struct screen_access *a;

		c->access = x_realloc(c->access, c->naccess + 1, sizeof *c->access);
		a = &c->access[c->naccess++];
		*a = (struct screen_access){ NULL };
		if (view_eq_str(item, "permit_mynetworks"))
			continue;
		if (smtpd_tables_open(item, &a->tables, err) < 0 ||
		    smtpd_tables_need_memory(a->tables, err) < 0)
			return err_prefix(err, "%s", name);
	}
	return 0;
}

int
smtpd_screen_config_read(struct screen_config *c, const struct conf *conf, struct err *err)
{
	*c = (struct screen_config){ .is_enabled = conf_bool(conf, "postscreen_enable") };
	read_test(c, conf, ANVIL_SCREEN_PREGREET, NULL, "postscreen_greet_action",
	    "postscreen_greet_ttl");
	read_test(c, conf, ANVIL_SCREEN_PIPELINING, "postscreen_pipelining_enable",
	    "postscreen_pipelining_action", "postscreen_pipelining_ttl");
	read_test(c, conf, ANVIL_SCREEN_NON_SMTP, "postscreen_non_smtp_command_enable",
	    "postscreen_non_smtp_command_action", "postscreen_non_smtp_command_ttl");
	read_test(c, conf, ANVIL_SCREEN_BARE_NEWLINE, "postscreen_bare_newline_enable",
	    "postscreen_bare_newline_action", "postscreen_bare_newline_ttl");
	c->actions[ANVIL_SCREEN_DNSBL] = read_action(conf, "postscreen_dnsbl_action");
	c->ttl[ANVIL_SCREEN_DNSBL] = conf_seconds(conf, "postscreen_dnsbl_max_ttl");
	c->deny_action = read_action(conf, "postscreen_denylist_action");
	c->banner = conf_str(conf, "postscreen_greet_banner");
	c->threshold = (int)conf_int(conf, "postscreen_dnsbl_threshold");
	c->allow_threshold = (int)conf_int(conf, "postscreen_dnsbl_allowlist_threshold");
	c->dnsbl_timeout_ms = conf_seconds(conf, "postscreen_dnsbl_timeout") * 1000;
	return read_sites(c, conf, err) < 0 || read_access(c, conf, err) < 0 ? -1 : 0;
}

void
smtpd_screen_config_clear(struct screen_config *c)
{
	for (size_t i = 0; i < c->naccess; i++)
		smtpd_tables_close(c->access[i].tables);
	x_free(&c->access);
	x_free(&c->sites);
}

static const struct screen_config *
config_of(const struct smtpd_session *s)
{
	return &s->server->conf->screen;
}

/* --- the log, as postscreen writes it ------------------------------------------------------------------------- */

static void
screen_log(struct smtpd_session *s, const char *what, const char *behind)
{
	log_as("postscreen", LOG_LEVEL_INFO, "%s [%s]:%u%s", what, s->client.ip,
	    addr_port(&s->client.address), behind);
}

static void
log_connect(struct smtpd_session *s)
{
	const struct sockaddr_storage *local = smtpd_client_local(s);
	char ip[ADDR_TEXT], to[ADDR_TEXT + 20];

	snprintf(to, sizeof to, " to [%s]:%u", addr_text(local, ip), addr_port(local));
	screen_log(s, "CONNECT from", to);
}

/* "PREGREET 14 after 0.2 from [192.0.2.1]:1234: EHLO me\r\n" */
static void
log_said(struct smtpd_session *s, const char *what, struct view text)
{
	char behind[QUOTE_MAX * 4 + 8], quoted[QUOTE_MAX * 4];

	if (text.len > QUOTE_MAX)
		text.len = QUOTE_MAX;
	snprintf(behind, sizeof behind, ": %s", log_quote(quoted, sizeof quoted, text));
	screen_log(s, what, behind);
}

/* --- the end of it ---------------------------------------------------------------------------------------------- */

static void
stop_questions(struct smtpd_screen *w)
{
	anvil_call_cancel(w->call);
	w->call = NULL;
	for (size_t i = 0; i < w->nprobes; i++)
		dnsbl_lookup_cancel(w->probes[i].lookup);
	w->nprobes = w->npending = 0;
	x_free(&w->probes);
	loop_timer_stop(&w->timer);
	w->is_greeting = false;
}

void
smtpd_screen_free(struct smtpd_session *s)
{
	if (s->screen == NULL)
		return;
	stop_questions(s->screen);
	x_free(&s->screen);
}

/* XCLIENT may say that nobody knows the address: those who have none are many. */
static bool
is_memorable(const struct smtpd_session *s)
{
	return s->client.address.ss_family != AF_UNSPEC;
}

/* What the tests of the mask have found lasts for their time. */
static void
remember(struct smtpd_session *s, unsigned passed)
{
	struct smtpd_screen *w = s->screen;
	int64_t now = clock_wall_ms() / 1000;

	if (passed == 0)
		return;
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		if (passed & BIT(i))
			w->until[i] = now + config_of(s)->ttl[i];
	w->todo &= ~passed;
	if (is_memorable(s))
		anvil_screen_put(s->server, s->client.ip, w->until);
}

static enum cmd_result
drop(struct smtpd_session *s, gate_then *then, const char *dsn, const char *text)
{
	smtpd_log_reject(s, "reject", smtpd_session_where(s), 521, dsn, text);
	smtpd_reply(s, 521, dsn, "%s", text);
	smtpd_session_end(s);
	smtpd_screen_free(s);
	return then(s, false);
}

/* The action for a client that has failed.  True: it is to be dropped. */
static bool
punish(struct smtpd_screen *w, enum screen_action action, const char *dsn, const char *text)
{
	if (action == SCREEN_IGNORE)
		return false;
	if (!w->has_verdict) {
		w->has_verdict = true;
		w->dsn = dsn;
		snprintf(w->text, sizeof w->text, "%s", text);
	}
	return action == SCREEN_DROP;
}

/* The tests before the greeting are over. */
static enum cmd_result
finish(struct smtpd_session *s)
{
	const struct screen_config *conf = config_of(s);
	struct smtpd_screen *w = s->screen;
	gate_then *then = w->then;
	bool is_complete = w->npending == 0 && !w->is_unsure;
	unsigned tested = w->todo & BEFORE_GREETING;

	w->then = NULL;
	stop_questions(w);
	if ((tested & BIT(ANVIL_SCREEN_DNSBL)) && w->score >= conf->threshold) {
		char what[40], text[300];

		snprintf(what, sizeof what, "DNSBL rank %d for", w->score);
		screen_log(s, what, "");
		snprintf(text, sizeof text, "Service unavailable; client [%s] blocked using %s",
		    s->client.ip, w->listed_by);
		w->failed |= BIT(ANVIL_SCREEN_DNSBL);
		if (punish(w, conf->actions[ANVIL_SCREEN_DNSBL], "5.7.1", text))
			return drop(s, then, "5.7.1", text);
	}
	/* who is well known is spared the other tests too */
	if (is_complete && conf->allow_threshold < 0 && w->score <= conf->allow_threshold)
		tested = w->todo;
	if (!is_complete)
		tested &= ~BIT(ANVIL_SCREEN_DNSBL);
	if (tested != 0 && w->failed == 0) {
		screen_log(s, "PASS NEW", "");
		w->is_told = true;
	}
	remember(s, tested & ~w->failed);
	if (w->todo == 0 && !w->has_verdict)
		smtpd_screen_free(s);
	return then(s, true);
}

/* --- silence before the greeting ----------------------------------------------------------------------------------- */

bool
smtpd_screen_input(struct smtpd_session *s)
{
	struct smtpd_screen *w = s->screen;
	struct view in = stream_input(s->stream);
	const enum anvil_screen_test test = ANVIL_SCREEN_PREGREET;
	char what[60];

	if (w == NULL || w->then == NULL)
		return false;
	if (!w->is_greeting || (w->failed & BIT(test)) || in.len == 0)
		return true;
	w->failed |= BIT(test);
	snprintf(what, sizeof what, "PREGREET %zu after %.2g from", in.len,
	    (double)(clock_mono_ms() - w->start_ms) / 1000);
	log_said(s, what, in);
	if (punish(w, config_of(s)->actions[test], "5.5.1", "Protocol error"))
		smtpd_gate_settled(s, drop(s, w->then, "5.5.1", "Protocol error"));
	return true;
}

bool
smtpd_screen_hangup(struct smtpd_session *s)
{
	struct smtpd_screen *w = s->screen;
	char what[60];

	if (w == NULL || w->then == NULL)
		return false;
	snprintf(what, sizeof what, "HANGUP after %.2g from",
	    (double)(clock_mono_ms() - w->start_ms) / 1000);
	screen_log(s, what, " in tests before SMTP handshake");
	return true;
}

/* --- DNS lists --------------------------------------------------------------------------------------------------------- */

static bool
is_well_known(const struct smtpd_session *s)
{
	int allow = config_of(s)->allow_threshold;

	return allow < 0 && s->screen->score <= allow;
}

/* All answers are there, and the time of silence is over or does not matter. */
static bool
is_decided(const struct smtpd_session *s)
{
	const struct smtpd_screen *w = s->screen;

	return w->npending == 0 && (!w->is_greeting || is_well_known(s));
}

static void
on_listed(void *arg, const struct dnsbl_answer *a)
{
	struct probe *p = arg;
	struct smtpd_session *s = p->session;
	struct smtpd_screen *w = s->screen;

	p->lookup = NULL;
	w->npending--;
	w->is_unsure |= a->fact == FACT_TEMP;
	if (a->fact == FACT_YES) {
		w->score += p->site->weight;
		if (p->site->weight > 0 && w->listed_by == NULL)
			w->listed_by = p->site->domain;
	}
	if (is_decided(s))
		smtpd_gate_settled(s, finish(s));
}

static void
start_probes(struct smtpd_session *s)
{
	const struct screen_config *conf = config_of(s);
	struct smtpd_screen *w = s->screen;
	char name[DNS_NAME_MAX];

	w->probes = x_calloc(conf->nsites, sizeof *w->probes);
	for (size_t i = 0; i < conf->nsites; i++) {
		struct probe *p = &w->probes[w->nprobes];

		if (!dnsbl_address_name(&s->client.address, conf->sites[i].domain, name))
			continue;
		*p = (struct probe){ s, &conf->sites[i], NULL };
		p->lookup = dnsbl_lookup_start(s->server->dnsd, name, p->site, false, on_listed, p);
		w->nprobes++;
		w->npending++;
	}
}

/* --- the beginning ------------------------------------------------------------------------------------------------------- */

static void
on_timer(void *arg)
{
	struct smtpd_session *s = arg;
	struct smtpd_screen *w = s->screen;
	int64_t left = config_of(s)->dnsbl_timeout_ms - (clock_mono_ms() - w->start_ms);
	bool was_greeting = w->is_greeting;

	w->is_greeting = false;
	if (was_greeting && w->npending > 0 && left > 0)
		loop_timer_start(&w->timer, left);
	else
		smtpd_gate_settled(s, finish(s));
}

static enum cmd_result
begin(struct smtpd_session *s)
{
	const struct screen_config *conf = config_of(s);
	struct smtpd_screen *w = s->screen;
	int64_t wait_ms = smtpd_server_patience(s->server)->greet_wait_ms;

	if ((w->todo & BIT(ANVIL_SCREEN_DNSBL)) && s->server->dnsd != NULL)
		start_probes(s);
	w->is_greeting = (w->todo & BIT(ANVIL_SCREEN_PREGREET)) && wait_ms > 0;
	if (w->is_greeting && conf->banner[0] != '\0')
		stream_printf(s->stream, "220-%s\r\n", conf->banner);
	if (is_decided(s))
		return finish(s);
	loop_timer_start(&w->timer, w->is_greeting ? wait_ms : conf->dnsbl_timeout_ms);
	if (w->is_greeting && smtpd_session_has_more_input(s))
		stream_poke(s->stream);
	return CMD_WAIT;
}

/* What is still to be tested, by what anvil remembers. */
static enum cmd_result
take_memory(struct smtpd_session *s, const struct anvil_answer *a)
{
	struct smtpd_screen *w = s->screen;
	int64_t now = clock_wall_ms() / 1000;
	gate_then *then = w->then;

	memcpy(w->until, a->until, sizeof w->until);
	w->todo = config_of(s)->tests;
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		if (w->until[i] > now)
			w->todo &= ~BIT(i);
	if (w->todo != 0)
		return begin(s);
	screen_log(s, "PASS OLD", "");
	smtpd_screen_free(s);
	return then(s, true);
}

static void
on_memory(void *arg, const struct anvil_answer *a)
{
	struct smtpd_session *s = arg;

	s->screen->call = NULL;
	smtpd_gate_settled(s, take_memory(s, a));
}

enum access { ACCESS_NONE, ACCESS_ALLOWED, ACCESS_DENIED };

static enum access
table_access(struct smtpd_session *s, struct smtpd_tables *t)
{
	struct lookup_key key = { .text = view_of(s->client.ip) };
	enum access found = ACCESS_NONE;
	struct buf value;
	struct err err;
	size_t which;

	buf_init(&value, 1000);
	if (smtpd_lookup_now(t, &key, 1, &value, &which, &err) == LOOKUP_FOUND) {
		if (view_case_eq_str(buf_view(&value), "permit"))
			found = ACCESS_ALLOWED;
		else if (view_case_eq_str(buf_view(&value), "reject"))
			found = ACCESS_DENIED;
		else if (!view_case_eq_str(buf_view(&value), "dunno"))
			log_warn("%s: \"%s\" for %s: permit, reject or dunno expected",
			    smtpd_tables_name(t), lq(buf_view(&value)), s->client.ip);
	}
	buf_clear(&value);
	return found;
}

static enum access
find_access(struct smtpd_session *s)
{
	const struct screen_config *conf = config_of(s);
	enum access found = ACCESS_NONE;

	for (size_t i = 0; i < conf->naccess && found == ACCESS_NONE; i++) {
		if (conf->access[i].tables != NULL)
			found = table_access(s, conf->access[i].tables);
		else if (s->client.in_mynetworks)
			found = ACCESS_ALLOWED;
	}
	return found;
}

static void
screen_new(struct smtpd_session *s, gate_then *then)
{
	struct smtpd_screen *w = x_calloc(1, sizeof *w);

	s->screen = w;
	w->then = then;
	w->start_ms = clock_mono_ms();
	loop_timer_init(&w->timer, s->server->loop, on_timer, s);
}

static enum cmd_result
connect_gate(struct smtpd_session *s, gate_then *then)
{
	static const struct anvil_answer nothing;
	enum access access;
	char text[200];

	smtpd_screen_free(s); /* of the client that XCLIENT has replaced */
	log_connect(s);
	access = find_access(s);
	if (access == ACCESS_ALLOWED) {
		screen_log(s, "ALLOWLISTED", "");
		return then(s, true);
	}
	screen_new(s, then);
	if (access == ACCESS_DENIED) {
		screen_log(s, "DENYLISTED", "");
		snprintf(text, sizeof text,
		    "Service unavailable; client [%s] blocked using postscreen_access_list",
		    s->client.ip);
		if (punish(s->screen, config_of(s)->deny_action, "5.3.2", text))
			return drop(s, then, "5.3.2", text);
		if (s->screen->has_verdict) { /* nothing to find out */
			s->screen->then = NULL;
			return then(s, true);
		}
	}
	if (is_memorable(s))
		s->screen->call = anvil_screen_get(s->server, s->client.ip, on_memory, s);
	return s->screen->call != NULL ? CMD_WAIT : take_memory(s, &nothing);
}

/* --- after the greeting ------------------------------------------------------------------------------------------------------ */

void
smtpd_screen_failed(
    struct smtpd_session *s, enum anvil_screen_test test, const char *where, struct view text)
{
	static const char *const names[ANVIL_SCREEN_TESTS] = {
		[ANVIL_SCREEN_PIPELINING] = "COMMAND PIPELINING",
		[ANVIL_SCREEN_NON_SMTP] = "NON-SMTP COMMAND",
		[ANVIL_SCREEN_BARE_NEWLINE] = "BARE NEWLINE",
	};
	struct smtpd_screen *w = s->screen;
	char what[40], behind[QUOTE_MAX * 4 + 40], quoted[QUOTE_MAX * 4];

	if (w == NULL || !(w->todo & BIT(test)) || (w->failed & BIT(test)))
		return;
	w->failed |= BIT(test);
	if (text.len > QUOTE_MAX)
		text.len = QUOTE_MAX;
	snprintf(what, sizeof what, "%s from", names[test]);
	snprintf(
	    behind, sizeof behind, " after %s: %s", where, log_quote(quoted, sizeof quoted, text));
	screen_log(s, what, behind);
	punish(w, config_of(s)->actions[test], "5.5.1", "Protocol error");
}

/* Nothing was wrong up to here, where a mailer would deliver. */
static enum cmd_result
rcpt_gate(struct smtpd_session *s, gate_then *then)
{
	struct smtpd_screen *w = s->screen;
	unsigned passed = w->todo & ~w->failed & ~(unsigned)BEFORE_GREETING;

	if (!w->has_verdict) {
		if (passed != 0 && w->failed == 0 && !w->is_told)
			screen_log(s, "PASS NEW", "");
		remember(s, passed);
		smtpd_screen_free(s);
		return then(s, true);
	}
	for (size_t i = 0; i < ANVIL_SCREEN_TESTS; i++)
		if ((w->failed & BIT(i)) && config_of(s)->actions[i] == SCREEN_DROP)
			return drop(s, then, w->dsn, w->text);
	smtpd_log_reject(s, "reject", "RCPT", 550, w->dsn, w->text);
	smtpd_reply(s, 550, w->dsn, "%s", w->text);
	return then(s, false);
}

enum cmd_result
smtpd_screen_gate(struct smtpd_session *s, enum smtpd_stage stage, gate_then *then)
{
	if (stage == STAGE_CONNECT && config_of(s)->is_enabled)
		return connect_gate(s, then);
	if (stage == STAGE_RCPT && s->screen != NULL)
		return rcpt_gate(s, then);
	return then(s, true);
}
