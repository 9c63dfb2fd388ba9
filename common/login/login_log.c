/* The lines of Dovecot's login processes, which fail2ban's filters read. */
#include "common/base/clock.h"
#include "common/log/log.h"
#include "common/login/login_client.h"

#include <stdio.h>

/* log_quote, and no byte by which a user name could end its own field and begin another. */
static void
quote_user(char *out, size_t size, struct view user)
{
	size_t at = 0;

	log_quote(out, size, user);
	for (; out[at] != '\0'; at++)
		if (out[at] == '<' || out[at] == '>')
			out[at] = '?';
}

static bool
plain_user(struct view message, struct view *user)
{
	struct view rest;

	return view_cut(message, '\0', NULL, &rest) && view_cut(rest, '\0', user, NULL);
}

/* RFC 5802 7: gs2-header "n=" saslname ","; =2C and =3D stay as they are: it is for the log. */
static bool
scram_user(struct view message, struct view *user)
{
	struct view rest;

	if (!view_cut(message, ',', NULL, &rest) || !view_cut(rest, ',', NULL, &rest) ||
	    !view_starts(rest, "n="))
		return false;
	rest.p += 2;
	rest.len -= 2;
	(void)view_cut(rest, ',', user, NULL);
	return true;
}

bool
login_sasl_user(const char *mech, unsigned nth, struct view message, char *out, size_t size)
{
	struct view user;

	if (nth > 0)
		return false;
	if (strcmp(mech, "LOGIN") == 0)
		user = message;
	else if (strcmp(mech, "PLAIN") == 0
		     ? !plain_user(message, &user)
		     : strncmp(mech, "SCRAM-", 6) != 0 || !scram_user(message, &user))
		return false;
	quote_user(out, size, user);
	return true;
}

static const char *
tls_words(const struct login_client *c)
{
	if (c->is_tls_up)
		return ", TLS";
	return c->phase == LOGIN_PHASE_TLS || c->wants_tls ? ", TLS handshaking" : "";
}

static void
add_method(const struct login_client *c, char *out, size_t size)
{
	if (c->mech[0] != '\0')
		snprintf(out, size, " method=%s,", c->mech);
	else
		out[0] = '\0';
}

void
login_log_login(struct login_client *c, const char *pid)
{
	uint64_t number;
	char mpid[40] = "";

	if (view_u64(view_of(pid), INT32_MAX, &number))
		snprintf(mpid, sizeof mpid, " mpid=%llu,", (unsigned long long)number);
	log_info("Login: user=<%s>, method=%s, rip=%s, lip=%s,%s%s session=<%s>", c->user, c->mech,
	    c->rip, c->lip, mpid, c->is_tls_up ? " TLS," : "", c->session_id);
}

void
login_log_end(struct login_client *c, const char *reason)
{
	long long secs = (clock_mono_ms() - c->born_ms) / 1000;
	char method[48], auth[80];

	if (c->attempts > 0)
		snprintf(
		    auth, sizeof auth, "auth failed, %u attempts in %lld secs", c->attempts, secs);
	else if (c->has_exchange)
		snprintf(
		    auth, sizeof auth, "client didn't finish SASL auth, waited %lld secs", secs);
	else if (c->has_tried_plaintext)
		snprintf(auth, sizeof auth, "tried to use disallowed plaintext auth");
	else
		snprintf(auth, sizeof auth, "no auth attempts in %lld secs", secs);
	add_method(c, method, sizeof method);
	log_info("Disconnected: %s (%s): user=<%s>,%s rip=%s, lip=%s%s, session=<%s>", reason, auth,
	    c->user, method, c->rip, c->lip, tls_words(c), c->session_id);
}
