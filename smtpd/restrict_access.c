/* Restrictions that look into tables: check_*_access and the sender login maps. */
#include "common/net/addr.h"
#include "smtpd/restrict_table.h"

#include <stdio.h>

/* --- keys (access(5)) ----------------------------------------------------------------------------- */

/* Parents of a name; with it and what else a mail address gives, fewer than LOOKUP_KEYS_MAX. */
enum { PARENTS_MAX = 30 };

/* The text lives as long as the question. */
static void
add_key(struct restrict_ctx *c, const char *text, size_t len, bool is_partial)
{
	struct restrict_question *q = &c->question;

	if (q->nkeys < LOOKUP_KEYS_MAX && len > 0)
		q->keys[q->nkeys++] = (struct lookup_key){ view_make(text, len), is_partial };
}

static size_t
count_dots(const char *name)
{
	size_t n = 0;

	while ((name = strchr(name, '.')) != NULL) {
		name++;
		n++;
	}
	return n;
}

/* The name, then its parent domains.  Of a name with more labels than anybody writes into a table, the parents next to
 * it are left out, not those next to the root: labels in front are free for everyone. */
static void
add_domain_keys(struct restrict_ctx *c, const char *name, bool is_partial)
{
	size_t left = count_dots(name);

	add_key(c, name, strlen(name), is_partial);
	for (; (name = strchr(name, '.')) != NULL; left--) {
		const char *key = c->env->parents_without_dot ? name + 1 : name;

		if (left <= PARENTS_MAX)
			add_key(c, key, strlen(key), true);
		name++;
	}
}

/* The address, then networks at its dots or colons: 192.0.2.1, 192.0.2, 192.0, 192. */
static void
add_address_keys(struct restrict_ctx *c, const char *ip)
{
	char separator = strchr(ip, ':') != NULL ? ':' : '.';
	size_t len = strlen(ip);

	add_key(c, ip, len, false);
	while (len > 0) {
		while (len > 0 && ip[len - 1] != separator)
			len--;
		while (len > 0 && ip[len - 1] == separator)
			len--;
		add_key(c, ip, len, true);
	}
}

/* user+ext@domain, user@domain: the first keys of the question. */
static void
take_whole_addresses(struct restrict_ctx *c, const char *address)
{
	struct restrict_question *q = &c->question;

	q->nkeys = lookup_address_keys(address, c->env->delimiter, q->stripped, q->keys);
}

/* These, then what only tables without patterns know: domain, parents, user+ext@, user@. */
static void
add_mail_keys(struct restrict_ctx *c, const char *address)
{
	size_t len = address_local_length(address);
	size_t base = address_base_length(address, c->env->delimiter);
	const char *user = arena_printf(&c->arena, "%.*s@", (int)base, address);

	take_whole_addresses(c, address);
	if (address[len] == '\0')
		return;
	add_domain_keys(c, address + len + 1, true);
	add_key(c, address, len + 1, true);
	if (base < len && user != NULL)
		add_key(c, user, strlen(user), true);
}

static void
add_cert_keys(struct restrict_ctx *c)
{
	add_key(c, c->cert_fingerprint, strlen(c->cert_fingerprint), false);
	add_key(c, c->cert_key_fingerprint, strlen(c->cert_key_fingerprint), false);
}

static void
add_subject_keys(struct restrict_ctx *c, enum restrict_subject subject, const char *text)
{
	switch (subject) {
	case SUBJECT_CLIENT:
		if (strcmp(c->client_name, "unknown") != 0)
			add_domain_keys(c, c->client_name, false);
		else
			add_key(c, "unknown", strlen("unknown"), false);
		add_address_keys(c, c->client_ip);
		break;
	case SUBJECT_SENDER:
		add_mail_keys(c, text[0] != '\0' ? text : c->env->null_key);
		break;
	case SUBJECT_RECIPIENT:
		add_mail_keys(c, text);
		break;
	case SUBJECT_CCERT:
		add_cert_keys(c);
		break;
	case SUBJECT_SASL:
		add_key(c, text, strlen(text), false);
		break;
	default:
		add_domain_keys(c, text, false);
	}
}

static enum restrict_result
ask_table(struct restrict_ctx *c, struct smtpd_tables *tables)
{
	c->question.kind = ASK_TABLE;
	c->question.tables = tables;
	return RESULT_NEED;
}

/* --- check_*_access ------------------------------------------------------------------------------- */

static enum restrict_result
act_on_answer(struct restrict_ctx *c, const struct restrict_item *it, const char *subject)
{
	const char *class = restrict_class_name(it->what->subject);

	if (c->answer.result == LOOKUP_TEMP)
		return restrict_temporary(c, subject);
	if (c->answer.result == LOOKUP_NONE)
		return RESULT_DUNNO;
	return restrict_act(c, c->answer.value, subject, class);
}

/* About the subject itself: one question, all keys in it. */
static enum restrict_result
check_itself(struct restrict_ctx *c, const struct restrict_item *it, const char *text)
{
	if (c->is_answered)
		return act_on_answer(c, it, text);
	c->question.nkeys = 0;
	add_subject_keys(c, it->what->subject, text);
	return ask_table(c, it->tables);
}

/* As many of the hosts as one question has room for. */
static void
add_host_keys(struct restrict_ctx *c)
{
	struct sockaddr_storage a;

	c->question.nkeys = 0;
	while (c->host_at < c->hosts.nhosts && c->question.nkeys + PARENTS_MAX < LOOKUP_KEYS_MAX) {
		const char *host = c->hosts.hosts[c->host_at++];

		if (addr_parse(view_of(host), &a))
			add_address_keys(c, host);
		else
			add_domain_keys(c, host, false);
	}
}

/* About the hosts behind its domain: first who they are, then the table, until it knows one of them. */
static enum restrict_result
check_hosts(struct restrict_ctx *c, const struct restrict_item *it, const char *text)
{
	enum restrict_result r = RESULT_DUNNO;
	const char *domain;

	if (c->step == 0) {
		domain = restrict_subject_domain(c, it->what->subject, &r);
		if (domain == NULL)
			return r;
		c->question.kind = ASK_HOSTS;
		c->question.hosts = it->what->hosts;
		snprintf(c->question.name, sizeof c->question.name, "%s", domain);
		return RESULT_NEED;
	}
	if (c->step == 1) {
		c->hosts = c->answer;
		c->host_at = 0;
	}
	if (c->step == 1 || c->answer.result == LOOKUP_NONE) {
		if (c->host_at == c->hosts.nhosts)
			return RESULT_DUNNO;
		add_host_keys(c);
		return ask_table(c, it->tables);
	}
	r = act_on_answer(c, it, text);
	/* whoever runs these hosts could make any name point at them: they open nothing (access(5)) */
	return r == RESULT_OK ? RESULT_DUNNO : r;
}

enum restrict_result
check_access(struct restrict_ctx *c)
{
	const struct restrict_item *it = c->item;
	enum restrict_subject subject = it->what->subject;
	const char *text;

	if (subject == SUBJECT_CLIENT && !restrict_have(c, FACT_CLIENT_NAME))
		return RESULT_NEED;
	if (subject == SUBJECT_REVERSE_CLIENT && !restrict_have(c, FACT_CLIENT_REVERSE))
		return RESULT_NEED;
	text = restrict_subject_text(c, subject);
	if (text == NULL || (text[0] == '\0' && subject != SUBJECT_SENDER))
		return RESULT_DUNNO;
	return it->what->hosts == HOSTS_NONE ? check_itself(c, it, text) : check_hosts(c, it, text);
}

/* --- relay_clientcerts -------------------------------------------------------------------------------- */

enum restrict_result
permit_tls_clientcerts(struct restrict_ctx *c)
{
	if (c->cert_fingerprint == NULL || c->env->clientcerts == NULL)
		return RESULT_DUNNO;
	if (c->is_answered)
		return c->answer.result == LOOKUP_TEMP    ? restrict_temporary(c, c->cert_fingerprint)
		       : c->answer.result == LOOKUP_FOUND ? RESULT_OK
							  : RESULT_DUNNO;
	c->question.nkeys = 0;
	add_cert_keys(c);
	return ask_table(c, c->env->clientcerts);
}

/* --- smtpd_sender_login_maps ---------------------------------------------------------------------- */

/* Is the login among the owners that the maps name? */
static bool
is_owner(const char *owners, const char *login)
{
	struct view rest = view_of(owners), word;

	while (conf_next(&rest, &word))
		if (view_case_eq_str(word, login))
			return true;
	return false;
}

static enum restrict_result
ask_owner(struct restrict_ctx *c)
{
	const char *domain = c->sender + address_local_length(c->sender);

	take_whole_addresses(c, c->sender);
	add_key(c, domain, strlen(domain), true); /* with its @ */
	return ask_table(c, c->env->login_maps);
}

enum restrict_result
reject_login_mismatch(struct restrict_ctx *c)
{
	enum restrict_subject whose = c->item->what->subject;
	const char *owners;

	if (c->sender == NULL || c->sender[0] == '\0' || c->env->login_maps == NULL ||
	    whose == (c->is_authenticated ? SUBJECT_NOT_LOGGED_IN : SUBJECT_LOGGED_IN) ||
	    (whose == SUBJECT_KNOWN_SENDER && !c->is_authenticated))
		return RESULT_DUNNO;
	if (!c->is_answered)
		return ask_owner(c);
	if (c->answer.result == LOOKUP_TEMP)
		return restrict_temporary(c, c->sender);
	owners = c->answer.result == LOOKUP_FOUND ? c->answer.value : NULL;
	if (!c->is_authenticated)
		return owners == NULL ? RESULT_DUNNO
				      : restrict_refuse(c, 553, "5.7.1",
					    "<%s>: Sender address rejected: not logged in", c->sender);
	if (owners == NULL ? whose == SUBJECT_KNOWN_SENDER : is_owner(owners, c->login))
		return RESULT_DUNNO;
	return restrict_refuse(c, 553, "5.7.1", "<%s>: Sender address rejected: not owned by user %s",
	    c->sender, c->login);
}
