/* delivery.h - qmgr to the delivery process of one uid. */
#ifndef COMMON_IPC_MSG_DELIVERY_H
#define COMMON_IPC_MSG_DELIVERY_H

enum {
	/* sig "ussqqqhh(uss)": job number, queue id, sender, arrival (wall ms), body size, body offset, headers (sealed
	 * memfd), body (sealed memfd or a file opened for reading), then each recipient: number within
	 * the message, final address, original address.  Flags ride in the job's "maybe delivered before" u32
	 * at the end of each recipient: see DELIVERY_JOB_SIG. */
	DELIVERY_JOB = 1,
	/* delivery -> qmgr, any order, one a recipient.  sig "uuuss": job, recipient number, enum
	 * delivery_status, enhanced code "x.y.z", text for log and DSN. */
	DELIVERY_RESULT = 2,
};
/* job, queue id, sender, arrival ms, body size, body offset, headers, body, (number, final address,
 * original address, flags) */
#define DELIVERY_JOB_SIG "ussqqqhh(ussu)"
#define DELIVERY_RESULT_SIG "uuuss"
enum { DELIVERY_MAYBE_DONE = 1 /* in flight at a crash: look in tmp/, new/ and cur/ first */ };
enum delivery_status { DELIVERY_SENT = 0, DELIVERY_DEFERRED = 1, DELIVERY_BOUNCED = 2 };

#endif
