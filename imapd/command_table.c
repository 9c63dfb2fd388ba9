#include "imapd/command.h"

#define ANY (IMAPD_AUTHENTICATED | IMAPD_SELECTED)
#define SEL IMAPD_SELECTED
#define AUTH IMAPD_AUTHENTICATED

/* What we keep, and nothing else: each word is a row below, or a way of reading and answering all of them. */
const char imapd_capabilities[] =
    "IMAP4rev1 LITERAL+ ID ENABLE IDLE NAMESPACE CHILDREN UIDPLUS UNSELECT MOVE";

/* clang-format off */
static const struct imapd_command_row rows[] = {
	/* name           states flags                                     parse                    run                    literal, bytes, line */
	{ "APPEND",       ANY,  CMD_NEWS | CMD_CHANGES,                    imapd_parse_append,      imapd_cmd_append,      imapd_literal_append, imapd_bytes_append, NULL }, /* RFC 3501 6.3.11 */
	{ "CAPABILITY",   ANY,  CMD_NEWS,                                  NULL,                    imapd_cmd_capability,  NULL, NULL, NULL }, /* 6.1.1 */
	{ "CHECK",        SEL,  CMD_NEWS,                                  NULL,                    imapd_cmd_noop,        NULL, NULL, NULL }, /* 6.4.1 */
	{ "CLOSE",        SEL,  CMD_CHANGES,                               NULL,                    imapd_cmd_close,       NULL, NULL, NULL }, /* 6.4.2 */
	{ "COPY",         SEL,  CMD_NEWS | CMD_CHANGES,                    imapd_parse_copy,        imapd_cmd_copy,        NULL, NULL, NULL }, /* 6.4.7 */
	{ "CREATE",       ANY,  CMD_NEWS,                                  imapd_parse_mailbox,     imapd_cmd_create,      NULL, NULL, NULL }, /* 6.3.3 */
	{ "DELETE",       ANY,  CMD_NEWS | CMD_CHANGES,                    imapd_parse_mailbox,     imapd_cmd_delete,      NULL, NULL, NULL }, /* 6.3.4 */
	{ "ENABLE",       AUTH, 0,                                         imapd_parse_enable,      imapd_cmd_enable,      NULL, NULL, NULL }, /* RFC 5161 3.1 */
	{ "EXAMINE",      ANY,  CMD_VARIANT,                               imapd_parse_mailbox,     imapd_cmd_select,      NULL, NULL, NULL }, /* 6.3.2 */
	{ "EXPUNGE",      SEL,  CMD_NEWS | CMD_CHANGES,                    NULL,                    imapd_cmd_expunge,     NULL, NULL, NULL }, /* 6.4.3 */
	{ "FETCH",        SEL,  CMD_NEWS | CMD_NO_EXPUNGE | CMD_KEEPS_CONTENT, imapd_parse_fetch,   imapd_cmd_fetch,       NULL, NULL, NULL }, /* 6.4.5 */
	{ "ID",           ANY,  CMD_NEWS,                                  imapd_parse_id,          imapd_cmd_id,          NULL, NULL, NULL }, /* RFC 2971 3.1 */
	{ "IDLE",         ANY,  CMD_NEWS,                                  NULL,                    imapd_cmd_idle,        NULL, NULL, imapd_line_idle }, /* RFC 2177 */
	{ "LIST",         ANY,  CMD_NEWS,                                  imapd_parse_list,        imapd_cmd_list,        NULL, NULL, NULL }, /* 6.3.8 */
	{ "LOGOUT",       ANY,  0,                                         NULL,                    imapd_cmd_logout,      NULL, NULL, NULL }, /* 6.1.3 */
	{ "LSUB",         ANY,  CMD_NEWS,                                  imapd_parse_list,        imapd_cmd_lsub,        NULL, NULL, NULL }, /* 6.3.9 */
	{ "MOVE",         SEL,  CMD_NEWS | CMD_CHANGES | CMD_VARIANT,      imapd_parse_copy,        imapd_cmd_copy,        NULL, NULL, NULL }, /* RFC 6851 3.1 */
	{ "NAMESPACE",    ANY,  CMD_NEWS,                                  NULL,                    imapd_cmd_namespace,   NULL, NULL, NULL }, /* RFC 2342 5 */
	{ "NOOP",         ANY,  CMD_NEWS,                                  NULL,                    imapd_cmd_noop,        NULL, NULL, NULL }, /* 6.1.2 */
	{ "RENAME",       ANY,  CMD_NEWS | CMD_CHANGES,                    imapd_parse_rename,      imapd_cmd_rename,      NULL, NULL, NULL }, /* 6.3.5 */
	{ "SEARCH",       SEL,  CMD_NEWS | CMD_NO_EXPUNGE,                 imapd_parse_search,      imapd_cmd_search,      NULL, NULL, NULL }, /* 6.4.4 */
	{ "SELECT",       ANY,  0,                                         imapd_parse_mailbox,     imapd_cmd_select,      NULL, NULL, NULL }, /* 6.3.1 */
	{ "STATUS",       ANY,  CMD_NEWS,                                  imapd_parse_status,      imapd_cmd_status,      NULL, NULL, NULL }, /* 6.3.10 */
	{ "STORE",        SEL,  CMD_NEWS | CMD_NO_EXPUNGE | CMD_CHANGES,   imapd_parse_store,       imapd_cmd_store,       NULL, NULL, NULL }, /* 6.4.6 */
	{ "SUBSCRIBE",    ANY,  CMD_NEWS,                                  imapd_parse_mailbox,     imapd_cmd_subscribe,   NULL, NULL, NULL }, /* 6.3.6 */
	{ "UID COPY",     SEL,  CMD_NEWS | CMD_UID | CMD_CHANGES,          imapd_parse_copy,        imapd_cmd_copy,        NULL, NULL, NULL }, /* 6.4.8 */
	{ "UID EXPUNGE",  SEL,  CMD_NEWS | CMD_UID | CMD_CHANGES,          imapd_parse_uid_expunge, imapd_cmd_expunge,     NULL, NULL, NULL }, /* RFC 4315 2.1 */
	{ "UID FETCH",    SEL,  CMD_NEWS | CMD_UID | CMD_KEEPS_CONTENT,    imapd_parse_fetch,       imapd_cmd_fetch,       NULL, NULL, NULL }, /* 6.4.8 */
	{ "UID MOVE",     SEL,  CMD_NEWS | CMD_UID | CMD_CHANGES | CMD_VARIANT, imapd_parse_copy,   imapd_cmd_copy,        NULL, NULL, NULL }, /* RFC 6851 3.2 */
	{ "UID SEARCH",   SEL,  CMD_NEWS | CMD_UID,                        imapd_parse_search,      imapd_cmd_search,      NULL, NULL, NULL }, /* 6.4.8 */
	{ "UID STORE",    SEL,  CMD_NEWS | CMD_UID | CMD_CHANGES,          imapd_parse_store,       imapd_cmd_store,       NULL, NULL, NULL }, /* 6.4.8 */
	{ "UNSELECT",     SEL,  CMD_VARIANT,                               NULL,                    imapd_cmd_close,       NULL, NULL, NULL }, /* RFC 3691 2 */
	{ "UNSUBSCRIBE",  ANY,  CMD_NEWS | CMD_VARIANT,                    imapd_parse_mailbox,     imapd_cmd_subscribe,   NULL, NULL, NULL }, /* 6.3.7 */
};
/* clang-format on */

const struct imapd_command_row *
imapd_command_find(struct view name)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (view_case_eq_str(name, rows[i].name))
			return &rows[i];
	return NULL;
}
