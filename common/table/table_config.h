/* table_config.h - which lookup tables does the configuration of an SMTP server name? */
#ifndef COMMON_TABLE_TABLE_CONFIG_H
#define COMMON_TABLE_TABLE_CONFIG_H

#include "common/config/master_cf.h"

enum { TABLE_CONFIG_MAX = 500 };

/* Where authd finds what table_config_collect gathered; a parameter that master sets. */
#define TABLE_CONFIG_PARAM "smtpd_lookup_tables"

/* fn for the value of each parameter of type CONF_TABLES that smtpd reads, and for each "type:name" in its restrictions and
 * restriction classes.  param: where specs stands. */
void table_config_each(const struct conf *conf,
    void (*fn)(void *arg, const char *param, struct view specs), void *arg);
/* Sets TABLE_CONFIG_PARAM of to: all tables that any smtpd service of m, over base, cannot read into its own memory, with
 * what stands beside them in a list.  0, or -1: ERR_LIMIT, ERR_SYNTAX (a type that there is not). */
int table_config_collect(
    const struct master_cf *m, const struct conf *base, struct conf *to, struct err *err);

#endif
