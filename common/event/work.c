#include "common/event/work.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

struct work_item {
	STAILQ_ENTRY(work_item) link;
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};
STAILQ_HEAD(work_list, work_item);

struct work_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct work_list todo, finished; /* under lock */
	bool stopping;                   /* under lock */
	pthread_t *threads;              /* owned */
	unsigned nthreads;
	size_t pending; /* loop thread only */
	int event_fd;
	struct loop_watch watch;
};

static void *
worker_main(void *arg)
{
	struct work_pool *p = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		struct work_item *w = STAILQ_FIRST(&p->todo);

		if (w == NULL) {
			if (p->stopping)
				break;
			pthread_cond_wait(&p->wake, &p->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&p->todo, link);
		pthread_mutex_unlock(&p->lock);
		w->run(w->arg);
		pthread_mutex_lock(&p->lock);
		STAILQ_INSERT_TAIL(&p->finished, w, link);
		/* an eventfd only refuses when its counter is full, and then it is readable anyway */
		if (write(p->event_fd, &one, sizeof one) < 0)
			continue;
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void
on_finished(void *arg, short what)
{
	struct work_pool *p = arg;
	struct work_list batch = STAILQ_HEAD_INITIALIZER(batch);
	struct work_item *w;
	uint64_t count;

	(void)what;
	if (read(p->event_fd, &count, sizeof count) < 0)
		count = 0; /* nothing new; the list is looked at all the same */
	pthread_mutex_lock(&p->lock);
	STAILQ_CONCAT(&batch, &p->finished);
	pthread_mutex_unlock(&p->lock);
	while ((w = STAILQ_FIRST(&batch)) != NULL) {
		STAILQ_REMOVE_HEAD(&batch, link);
		p->pending--;
		w->done(w->arg);
		free(w);
	}
}

struct work_pool *
work_pool_new(struct loop *l, unsigned threads)
{
	struct work_pool *p = x_calloc(1, sizeof *p);
	sigset_t all, old;

	STAILQ_INIT(&p->todo);
	STAILQ_INIT(&p->finished);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	p->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->event_fd < 0)
		bug("eventfd failed");
	loop_watch_init(&p->watch, l, p->event_fd, on_finished, p);
	loop_watch_set(&p->watch, LOOP_READ);
	p->threads = x_calloc(threads, sizeof *p->threads);
	/* signals belong to the loop's thread */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	for (; p->nthreads < threads; p->nthreads++)
		if (pthread_create(&p->threads[p->nthreads], NULL, worker_main, p) != 0)
			bug("pthread_create failed");
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return p;
}

void
work_pool_free(struct work_pool *p)
{
	if (p == NULL)
		return;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nthreads; i++)
		pthread_join(p->threads[i], NULL);
	on_finished(p, LOOP_READ);
	loop_watch_set(&p->watch, 0);
	close(p->event_fd);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	free(p->threads);
	free(p);
}

void
work_submit(struct work_pool *p, void (*run)(void *arg), void (*done)(void *arg), void *arg)
{
	struct work_item *w = x_malloc(sizeof *w);

	*w = (struct work_item){ .run = run, .done = done, .arg = arg };
	p->pending++;
	pthread_mutex_lock(&p->lock);
	STAILQ_INSERT_TAIL(&p->todo, w, link);
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
}

size_t
work_pending(const struct work_pool *p)
{
	return p->pending;
}
