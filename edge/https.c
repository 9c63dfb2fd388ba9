#include "edge/https.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "common/net/addr.h"

#include <curl/curl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

/* A socket of libcurl's. */
struct watched {
	LIST_ENTRY(watched) link;
	struct https *https;
	struct loop_watch watch;
};

struct https {
	struct loop *loop;
	CURLM *multi;            /* owned */
	X509_STORE *authorities; /* owned */
	struct loop_timer timer;
	LIST_HEAD(, watched) watched;
};

struct https_get {
	struct https *https;
	CURL *easy;                    /* owned */
	struct curl_slist *connect_to; /* owned */
	char *media_type;              /* owned */
	struct buf body;
	char error[CURL_ERROR_SIZE];
	void (*cb)(void *arg, enum https_status status, struct view body, const char *why);
	void *arg;
	struct loop_timer soon; /* for a failure at once */
};

/* ---------------------------------------------------------------- how it ended */

static bool
has_media_type(const struct https_get *g)
{
	const char *text = NULL;
	struct view type;

	curl_easy_getinfo(g->easy, CURLINFO_CONTENT_TYPE, &text);
	view_cut(view_of(text), ';', &type, NULL);
	return view_case_eq_str(view_trim(type), g->media_type);
}

/* Takes *g out of libcurl's hands, tells, and frees it. */
static void
finish(struct https_get *g, CURLcode code)
{
	void (*cb)(void *, enum https_status, struct view, const char *) = g->cb;
	enum https_status status = HTTPS_FAILED;
	void *arg = g->arg;
	struct buf body = g->body;
	char why[CURL_ERROR_SIZE];
	long http = 0, connected = 0;

	curl_easy_getinfo(g->easy, CURLINFO_RESPONSE_CODE, &http);
	curl_easy_getinfo(g->easy, CURLINFO_NUM_CONNECTS, &connected);
	if (g->body.failed) {
		snprintf(why, sizeof why, "the answer is too long");
	} else if (code != CURLE_OK) {
		snprintf(why, sizeof why, "%s",
		    g->error[0] != '\0' ? g->error : curl_easy_strerror(code));
		if (code == CURLE_COULDNT_CONNECT ||
		    (code == CURLE_OPERATION_TIMEDOUT && connected == 0))
			status = HTTPS_UNREACHABLE;
		else if (code == CURLE_PEER_FAILED_VERIFICATION)
			status = HTTPS_UNTRUSTED;
	} else if (http != 200) { /* RFC 8461 3.3: a redirect is none */
		snprintf(why, sizeof why, "HTTP status %ld", http);
	} else if (!has_media_type(g)) {
		snprintf(why, sizeof why, "the media type is not %s", g->media_type);
	} else {
		status = HTTPS_OK;
		why[0] = '\0';
	}
	buf_init(&g->body, 0);
	https_get_cancel(g);
	cb(arg, status, buf_view(&body), why);
	buf_clear(&body);
}

static void
finish_done(struct https *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct https_get *g = NULL;
		CURLcode code = m->data.result; /* *m goes with the handle */

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&g);
		finish(g, code);
	}
}

/* ---------------------------------------------------------------- libcurl on our loop */

static void
act(struct https *h, curl_socket_t fd, int what)
{
	int running;

	curl_multi_socket_action(h->multi, fd, what, &running);
	finish_done(h);
}

static void
on_ready(void *arg, short what)
{
	struct watched *w = arg;

	act(w->https, w->watch.fd,
	    (what & LOOP_READ ? CURL_CSELECT_IN : 0) | (what & LOOP_WRITE ? CURL_CSELECT_OUT : 0));
}

static void
on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int
set_timer(CURLM *multi, long after_ms, void *arg)
{
	struct https *h = arg;

	(void)multi;
	if (after_ms < 0)
		loop_timer_stop(&h->timer);
	else
		loop_timer_start(&h->timer, after_ms);
	return 0;
}

static void
watched_free(struct watched *w)
{
	loop_watch_set(&w->watch, 0);
	LIST_REMOVE(w, link);
	free(w);
}

static int
set_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct https *h = arg;
	struct watched *w = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w != NULL)
			watched_free(w);
		return 0;
	}
	if (w == NULL) {
		w = x_calloc(1, sizeof *w);
		w->https = h;
		LIST_INSERT_HEAD(&h->watched, w, link);
		loop_watch_init(&w->watch, h->loop, fd, on_ready, w);
		curl_multi_assign(h->multi, fd, w);
	}
	loop_watch_set(&w->watch, (short)((what & CURL_POLL_IN ? LOOP_READ : 0) |
					  (what & CURL_POLL_OUT ? LOOP_WRITE : 0)));
	return 0;
}

/* ---------------------------------------------------------------- one request */

static size_t
take_body(char *p, size_t size, size_t count, void *arg)
{
	struct https_get *g = arg;

	return buf_append(&g->body, p, size * count) == 0 ? size * count : 0;
}

/* The authorities were read before the cage closed. */
static CURLcode
set_authorities(CURL *easy, void *ssl_ctx, void *arg)
{
	struct https *h = arg;

	(void)easy;
	SSL_CTX_set1_cert_store(ssl_ctx, h->authorities);
	return CURLE_OK;
}

static char *
connect_to(const struct https_request *r)
{
	char ip[ADDR_TEXT];
	bool is6 = r->address->ss_family == AF_INET6;

	addr_text(r->address, ip);
	return x_asprintf(
	    "%s:%d:%s%s%s:%d", r->host, HTTPS_PORT, is6 ? "[" : "", ip, is6 ? "]" : "", HTTPS_PORT);
}

static bool
set_options(struct https_get *g, const struct https_request *r)
{
	CURL *c = g->easy;
	char *url = x_asprintf("https://%s%s", r->host, r->path), *to = connect_to(r);
	bool done;

	g->connect_to = curl_slist_append(NULL, to);
	done = g->connect_to != NULL && curl_easy_setopt(c, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECT_TO, g->connect_to) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_USERAGENT, "Estafeta") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)r->total_ms) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CAINFO, NULL) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, set_authorities) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, g->https) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEDATA, g) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ERRORBUFFER, g->error) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PRIVATE, g) == CURLE_OK;
	free(url);
	free(to);
	return done;
}

static void
on_cannot(void *arg)
{
	finish(arg, CURLE_FAILED_INIT);
}

struct https_get *
https_get_start(struct https *h, const struct https_request *r,
    void (*cb)(void *arg, enum https_status status, struct view body, const char *why), void *arg)
{
	struct https_get *g = x_calloc(1, sizeof *g);

	g->https = h;
	g->cb = cb;
	g->arg = arg;
	g->media_type = x_strdup(r->media_type);
	buf_init(&g->body, r->max_bytes);
	loop_timer_init(&g->soon, h->loop, on_cannot, g);
	g->easy = curl_easy_init();
	if (g->easy == NULL || !set_options(g, r) ||
	    curl_multi_add_handle(h->multi, g->easy) != CURLM_OK)
		loop_timer_soon(&g->soon);
	return g;
}

void
https_get_cancel(struct https_get *g)
{
	if (g == NULL)
		return;
	loop_timer_stop(&g->soon);
	if (g->easy != NULL)
		curl_multi_remove_handle(g->https->multi, g->easy);
	curl_easy_cleanup(g->easy);
	curl_slist_free_all(g->connect_to);
	free(g->media_type);
	buf_clear(&g->body);
	free(g);
}

/* ---------------------------------------------------------------- life */

/* Without them no certificate is good, which is for the admin to mend: relay starts without them, too. */
static void
read_authorities(struct https *h, const char *file)
{
	const char *reason;

	if (file[0] == '\0' || X509_STORE_load_file(h->authorities, file) == 1)
		return;
	reason = ERR_reason_error_string(ERR_peek_last_error());
	log_warn("smtp_tls_CAfile: %s: %s", file, reason != NULL ? reason : "cannot be read");
	ERR_clear_error();
}

struct https *
https_new(struct loop *l, const char *ca_file, struct err *err)
{
	struct https *h = x_calloc(1, sizeof *h);

	h->loop = l;
	loop_timer_init(&h->timer, l, on_timer, h);
	LIST_INIT(&h->watched);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == 0 && (h->multi = curl_multi_init()) != NULL &&
	    (h->authorities = X509_STORE_new()) != NULL) {
		read_authorities(h, ca_file);
		curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
		curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
		curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
		curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
		return h;
	}
	err_set(err, ERR_TEMP, "libcurl does not start");
	https_free(h);
	return NULL;
}

void
https_free(struct https *h)
{
	if (h == NULL)
		return;
	curl_multi_cleanup(h->multi);
	while (!LIST_EMPTY(&h->watched))
		watched_free(LIST_FIRST(&h->watched));
	loop_timer_stop(&h->timer);
	X509_STORE_free(h->authorities);
	free(h);
}
