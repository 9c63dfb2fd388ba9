/* table_values.h - what stands in tables whose values are actions.
 *
 * A wrong word there is found by the mail that meets it: that is deferred, or passes.  So a test of the configuration looks
 * for it before, in the tables that are texts. */
#ifndef SMTPD_TABLE_VALUES_H
#define SMTPD_TABLE_VALUES_H

#include "smtpd/config.h"

/* Logs "hash map /etc/x, line 3: ..." for each value of the tables of restrictions, of header_checks and the like, and of
 * postscreen_access_list that is no action; the first ones of a table. */
void smtpd_table_values_test(const struct smtpd_config *c);

#endif
