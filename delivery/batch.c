#include "delivery/batch.h"
#include "common/base/clock.h"
#include "common/base/fd.h"
#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct batch_box {
	struct box *open;       /* borrowed from the cache */
	struct outcome failure; /* known: it could not be opened, open is NULL */
	const char *home;       /* borrowed from a copy */
	unsigned published;     /* files renamed into new/ */
	bool new_found,
	    cur_found;        /* files of an earlier attempt are there, perhaps not yet synced */
	int sync_error;       /* errno of syncing new/ or cur/, 0 */
	int64_t bytes, count; /* delivered, for maildirsize */
};

struct batch {
	struct batch_config *config;
	struct copy **copies;
	size_t count;
	struct map boxes; /* home -> struct batch_box, owned */
	bool sync_failed;
};

/* --- mailboxes ------------------------------------------------------------------------------------------ */

static struct batch_box *
find_box(struct batch *b, const char *home)
{
	struct batch_config *c = b->config;
	struct batch_box *box = map_get(&b->boxes, view_of(home));

	if (box != NULL)
		return box;
	box = x_calloc(1, sizeof *box);
	box->home = home;
	map_put(&b->boxes, view_of(home), box);
	box->open = box_cache_get(c->boxes, home, &box->failure);
	if (box->open != NULL && c->clean_every > 0 && c->boxes_asked++ % c->clean_every == 0)
		box_clean_tmp(box->open, clock_wall_ms() / 1000);
	return box;
}

static void
release_boxes(struct batch *b)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&b->boxes, &w)) != NULL)
		free(e->value);
	map_clear(&b->boxes);
	if (b->sync_failed)
		box_cache_clear(b->config->boxes);
	else
		box_cache_trim(b->config->boxes);
}

/* --- what an earlier attempt has left --------------------------------------------------------------------- */

struct search {
	struct map wanted; /* base name -> struct copy */
	bool found;
};

static bool
search_one(void *arg, int dir_fd, const char *name)
{
	struct search *s = arg;
	struct copy *c = map_get(&s->wanted, view_make(name, box_base_length(name)));

	(void)dir_fd;
	if (c == NULL || c->outcome.is_known)
		return true;
	outcome_sent(&c->outcome);
	s->found = true;
	return true;
}

/* Looks for the copies of this mailbox that may have been delivered; one pass over each directory. */
static void
search_box(struct batch *b, struct batch_box *box)
{
	struct search s = { .found = false };
	struct outcome why = { .is_known = false };
	int r;

	map_init(&s.wanted);
	for (size_t i = 0; i < b->count; i++)
		if (b->copies[i]->box == box && b->copies[i]->maybe_done)
			map_put(&s.wanted, view_of(b->copies[i]->base), b->copies[i]);
	if (s.wanted.count == 0)
		return;
	r = box_each_name(box->open->new.fd, search_one, &s);
	box->new_found = s.found;
	s.found = false;
	if (r == 0 && box_open_cur(box->open, &why) == 0)
		r = box_each_name(box->open->cur_fd, search_one, &s);
	box->cur_found = s.found;
	if (r < 0 && !why.is_known)
		outcome_errno(&why, errno, "maildir delivery failed: read directory");
	/* without a look a second copy could be made: better later */
	for (size_t i = 0; i < b->count && why.is_known; i++)
		if (b->copies[i]->box == box && b->copies[i]->maybe_done &&
		    !b->copies[i]->outcome.is_known)
			b->copies[i]->outcome = why;
	map_clear(&s.wanted);
}

static void
search_boxes(struct batch *b)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&b->boxes, &w)) != NULL)
		if (!((struct batch_box *)e->value)->failure.is_known)
			search_box(b, e->value);
}

/* --- writing ---------------------------------------------------------------------------------------------- */

static bool
may_be_written(struct batch *b, struct copy *c)
{
	struct err err;

	c->fd = -1;
	if (c->outcome.is_known)
		return false;
	if (letter_load(c->letter, &err) < 0) {
		outcome_set(&c->outcome, DELIVERY_DEFERRED, "4.3.0", "cannot read the message: %s",
		    err.text);
		return false;
	}
	/* RFC 5321 6.3, and Postfix's words */
	if (letter_was_delivered_to(c->letter, c->envelope.address)) {
		outcome_set(&c->outcome, DELIVERY_BOUNCED, "5.4.6", "mail forwarding loop for %s",
		    c->envelope.address);
		return false;
	}
	box_base_name(c->base, c->arrival_ms, c->queue_id, c->number, b->config->host);
	c->box = find_box(b, c->home);
	if (c->box->failure.is_known)
		c->outcome = c->box->failure;
	return !c->outcome.is_known;
}

static int
create_in_tmp(const struct copy *c)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL;
	int fd = open_beneath(c->box->open->tmp.fd, c->base, flags, 0600);

	/* the name is of this copy alone: what stands there was cut off by a crash */
	if (fd < 0 && errno == EEXIST && unlinkat(c->box->open->tmp.fd, c->base, 0) == 0)
		fd = open_beneath(c->box->open->tmp.fd, c->base, flags, 0600);
	return fd;
}

static void
drop_from_tmp(struct copy *c)
{
	fd_close(&c->fd);
	unlinkat(c->box->open->tmp.fd, c->base, 0); /* if that fails, the cleaning of tmp/ does it */
}

static void
write_copy(struct copy *c)
{
	struct maildirsize *q = &c->box->open->quota;

	c->fd = create_in_tmp(c);
	if (c->fd < 0) {
		outcome_errno(&c->outcome, errno,
		    "maildir delivery failed: create %s/Maildir/tmp/%s", c->home, c->base);
		return;
	}
	if (letter_write(c->letter, &c->envelope, c->fd, &c->size) < 0) {
		outcome_errno(&c->outcome, errno,
		    "maildir delivery failed: write %s/Maildir/tmp/%s", c->home, c->base);
		drop_from_tmp(c);
		return;
	}
	if (!maildirsize_has_room(q, c->size.disk)) {
		outcome_set(&c->outcome, DELIVERY_DEFERRED, "4.2.2", "mailbox is full");
		drop_from_tmp(c);
		return;
	}
	q->used_bytes += (int64_t)c->size.disk;
	q->used_count++;
	snprintf(c->name, sizeof c->name, "%s,S=%llu,W=%llu", c->base,
	    (unsigned long long)c->size.disk, (unsigned long long)c->size.crlf);
}

/* --- syncing ------------------------------------------------------------------------------------------------ */

/* Files or directories to sync; done by file system. */
struct sync_item {
	int fd; /* borrowed */
	int fs_fd; /* any directory of the file system that was opened before the first write, borrowed */
	dev_t device;
	int error; /* errno, 0 = is on disk */
};

static int
compare_devices(const void *pa, const void *pb)
{
	const struct sync_item *a = *(struct sync_item *const *)pa,
			       *b = *(struct sync_item *const *)pb;

	return a->device < b->device ? -1 : a->device > b->device;
}

static void
sync_device(struct sync_item **items, size_t count, unsigned sync_all_from)
{
	if (count >= sync_all_from) {
		/* since Linux 5.8 it tells of every write that failed since this descriptor was opened */
		int error = syncfs(items[0]->fs_fd) < 0 ? errno : 0;

		for (size_t i = 0; i < count; i++)
			items[i]->error = error;
		return;
	}
	/* all are on their way before the first is waited for; a hint, so that its answer does not matter */
	for (size_t i = 0; count > 1 && i < count; i++)
		sync_file_range(items[i]->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
	for (size_t i = 0; i < count; i++)
		items[i]->error = fsync(items[i]->fd) < 0 ? errno : 0;
}

static void
sync_items(struct sync_item *items, size_t count, unsigned sync_all_from)
{
	struct sync_item **sorted = x_calloc(count + 1, sizeof *sorted);
	size_t next;

	for (size_t i = 0; i < count; i++)
		sorted[i] = &items[i];
	qsort(sorted, count, sizeof *sorted, compare_devices);
	for (size_t i = 0; i < count; i = next) {
		for (next = i; next < count && sorted[next]->device == sorted[i]->device; next++)
			continue;
		sync_device(sorted + i, next - i, sync_all_from);
	}
	free(sorted);
}

static void
sync_files(struct batch *b)
{
	struct sync_item *items = x_calloc(b->count + 1, sizeof *items);
	struct copy **written = x_calloc(b->count + 1, sizeof *written);
	size_t n = 0;

	for (size_t i = 0; i < b->count; i++) {
		struct copy *c = b->copies[i];

		if (c->fd < 0)
			continue;
		items[n] = (struct sync_item){ c->fd, c->box->open->tmp.fd, c->box->open->new.device, 0 };
		written[n++] = c;
	}
	sync_items(items, n, b->config->sync_all_from);
	for (size_t i = 0; i < n; i++) {
		if (items[i].error == 0)
			continue;
		b->sync_failed = true;
		/* nobody knows what of it is on disk, and a second fsync would not tell (hostile.md 44) */
		outcome_errno(&written[i]->outcome, items[i].error,
		    "maildir delivery failed: sync %s/Maildir/tmp/%s", written[i]->home,
		    written[i]->base);
		drop_from_tmp(written[i]);
	}
	free(items);
	free(written);
}

/* --- publishing ----------------------------------------------------------------------------------------------- */

static void
publish(struct copy *c)
{
	int error = 0;

	if (close(c->fd) < 0 && errno != EINTR)
		error = errno; /* NFS tells of a full disk here */
	c->fd = -1;
	if (error == 0 && box_publish(c->box->open, c->base, c->name) < 0)
		error = errno;
	if (error == 0) {
		c->is_published = true;
		c->box->published++;
		return;
	}
	drop_from_tmp(c);
	if (error == EEXIST) {
		/* queue id, recipient and size are the same: an earlier attempt that we were not told of */
		outcome_sent(&c->outcome);
		c->box->new_found = true;
		return;
	}
	outcome_errno(&c->outcome, error, "maildir delivery failed: create %s/Maildir/new/%s",
	    c->home, c->name);
}

static void
sync_directories(struct batch *b)
{
	struct sync_item *items = x_calloc(2 * b->boxes.count + 1, sizeof *items);
	struct batch_box **owners = x_calloc(2 * b->boxes.count + 1, sizeof *owners);
	struct map_walk w = { 0 };
	struct map_entry *e;
	size_t n = 0;

	while ((e = map_next(&b->boxes, &w)) != NULL) {
		struct batch_box *o = e->value;
		const struct box *box = o->open;

		if (o->published > 0 || o->new_found) {
			owners[n] = o;
			items[n++] = (struct sync_item){ box->new.fd, box->tmp.fd, box->new.device, 0 };
		}
		if (o->cur_found) {
			owners[n] = o;
			items[n++] = (struct sync_item){ box->cur_fd, box->tmp.fd, box->new.device, 0 };
		}
	}
	sync_items(items, n, b->config->sync_all_from);
	for (size_t i = 0; i < n; i++)
		if (items[i].error != 0) {
			owners[i]->sync_error = items[i].error;
			b->sync_failed = true;
		}
	free(items);
	free(owners);
}

/* The names are on disk, or the copies are taken back and tried again later. */
static void
conclude(struct copy *c)
{
	struct batch_box *box = c->box;
	bool was_found = c->outcome.is_known && c->outcome.status == DELIVERY_SENT;

	if (box == NULL || (!c->is_published && !was_found))
		return;
	if (box->sync_error != 0) {
		if (c->is_published)
			unlinkat(box->open->new.fd, c->name, 0);
		outcome_errno(&c->outcome, box->sync_error,
		    "maildir delivery failed: sync %s/Maildir/new", c->home);
		return;
	}
	outcome_sent(&c->outcome);
	if (c->is_published) {
		box->bytes += (int64_t)c->size.disk;
		box->count++;
	}
}

static void
count_quota(struct batch *b)
{
	struct map_walk w = { 0 };
	struct map_entry *e;

	while ((e = map_next(&b->boxes, &w)) != NULL) {
		struct batch_box *box = e->value;

		/* the mail is delivered; a count that is off is put right at the next recalculation */
		if (box->count > 0 && box->open->quota.is_known)
			maildirsize_append(box->open->maildir.fd, box->bytes, box->count, NULL);
	}
}

void
batch_run(struct batch_config *config, struct copy **copies, size_t count)
{
	struct batch b = { .config = config, .copies = copies, .count = count };

	map_init(&b.boxes);
	for (size_t i = 0; i < count; i++)
		may_be_written(&b, copies[i]);
	search_boxes(&b);
	for (size_t i = 0; i < count; i++)
		if (!copies[i]->outcome.is_known)
			write_copy(copies[i]);
	sync_files(&b);
	for (size_t i = 0; i < count; i++)
		if (copies[i]->fd >= 0)
			publish(copies[i]);
	sync_directories(&b);
	for (size_t i = 0; i < count; i++)
		conclude(copies[i]);
	count_quota(&b);
	release_boxes(&b);
}
