#include "smtpd/proxy_wait.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"
#include "common/log/log.h"
#include "smtpd/proxy_header.h"

#include <errno.h>
#include <stdlib.h>

enum { AGAIN_MS = 20 /* a header that came in pieces is looked at again */ };

struct smtpd_proxy {
	LIST_ENTRY(smtpd_proxy) link;
	struct smtpd_server *server;
	int fd; /* owned */
	struct sockaddr_storage peer;
	struct loop_watch watch;
	struct loop_timer again;
	int64_t until_ms;
};

static void
proxy_free(struct smtpd_proxy *p)
{
	loop_watch_set(&p->watch, 0);
	loop_timer_stop(&p->again);
	LIST_REMOVE(p, link);
	p->server->nproxied--;
	fd_close(&p->fd);
	free(p);
}

static void
refuse(struct smtpd_proxy *p, const char *why)
{
	struct smtpd_server *v = p->server;
	char ip[ADDR_TEXT];

	log_warn("haproxy read: %s, client %s", why, addr_text(&p->peer, ip));
	proxy_free(p);
	smtpd_server_proxy_left(v);
}

static void
let_in(struct smtpd_proxy *p, const struct proxy_header *h)
{
	struct smtpd_server *v = p->server;
	struct sockaddr_storage client = h->has_addresses ? h->client : p->peer;
	int fd = p->fd;

	p->fd = -1;
	proxy_free(p);
	smtpd_server_enter(v, fd, &client, h->has_addresses ? &h->server : NULL);
}

static void
look(struct smtpd_proxy *p)
{
	char bytes[PROXY_HEADER_MAX];
	ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
	struct proxy_header h;
	struct err err;
	size_t used;
	int r;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		refuse(p, n == 0 ? "EOF" : strerror(errno));
		return;
	}
	r = proxy_header_parse(view_make(bytes, (size_t)n), &used, &h, &err);
	if (r == 1 && clock_mono_ms() < p->until_ms) {
		/* readable it is already: the loop would only turn */
		loop_watch_set(&p->watch, 0);
		loop_timer_start(&p->again, AGAIN_MS);
		return;
	}
	if (r != 0 || recv(p->fd, bytes, used, MSG_DONTWAIT) != (ssize_t)used)
		refuse(p, r < 0 ? err.text : "timeout");
	else
		let_in(p, &h);
}

static void
on_readable(void *arg, short what)
{
	(void)what;
	look(arg);
}

static void
on_again(void *arg)
{
	struct smtpd_proxy *p = arg;
	int64_t left = p->until_ms - clock_mono_ms();

	if (left <= 0) {
		refuse(p, "timeout");
		return;
	}
	loop_timer_start(&p->again, left);
	loop_watch_set(&p->watch, LOOP_READ);
	look(p);
}

void
smtpd_proxy_wait(struct smtpd_server *v, int fd, const struct sockaddr_storage *peer)
{
	int64_t timeout_ms = v->conf->ext.proxy_timeout_ms;
	struct smtpd_proxy *p = x_calloc(1, sizeof *p);

	p->server = v;
	p->fd = fd;
	p->peer = *peer;
	p->until_ms = clock_mono_ms() + timeout_ms;
	loop_watch_init(&p->watch, v->loop, fd, on_readable, p);
	loop_timer_init(&p->again, v->loop, on_again, p);
	LIST_INSERT_HEAD(&v->proxied, p, link);
	v->nproxied++;
	loop_watch_set(&p->watch, LOOP_READ);
	loop_timer_start(&p->again, timeout_ms);
}

void
smtpd_proxy_clear(struct smtpd_server *v)
{
	while (!LIST_EMPTY(&v->proxied))
		proxy_free(LIST_FIRST(&v->proxied));
}
