/* An explanation for people. */
#include "common/log/log.h"
#include "tools/explain.h"

#include <stdio.h>
#include <string.h>

static bool
has(const json_t *o, const char *name)
{
	return explain_get(o, name)[0] != '\0';
}

/* "  label: name=value name=value", the values that foreigners have a say in quoted. */
static void
print_step(const json_t *step)
{
	static const char *const last[] = { "step", "key", "value", "verdict", "result", "code",
		"dsn", "text" };
	const char *name;
	json_t *value;

	printf("  %s:", lqs(explain_get(step, "step")));
	json_object_foreach((json_t *)step, name, value)
	{
		bool is_last = false;

		for (size_t i = 0; i < sizeof last / sizeof last[0]; i++)
			is_last |= strcmp(name, last[i]) == 0;
		if (!is_last)
			printf(" %s", lqs(explain_get(step, name)));
	}
	if (has(step, "key"))
		printf(" <%s>", lqs(explain_get(step, "key")));
	if (has(step, "verdict") || has(step, "result"))
		printf(
		    " %s%s", lqs(explain_get(step, "verdict")), lqs(explain_get(step, "result")));
	if (has(step, "value"))
		printf(" \"%s\"", lqs(explain_get(step, "value")));
	if (has(step, "code"))
		printf(" (%s %s %s)", lqs(explain_get(step, "code")), lqs(explain_get(step, "dsn")),
		    lqs(explain_get(step, "text")));
	putchar('\n');
}

/* What was looked for in vain is of no interest to people. */
static void
print_lookups(const json_t *where, const char *name)
{
	json_t *lookup;
	size_t i;

	json_array_foreach(json_object_get(where, name), i, lookup)
	{
		if (strcmp(explain_get(lookup, "result"), "none") == 0)
			continue;
		printf("  lookup: %s <%s> %s", lqs(explain_get(lookup, "table")),
		    lqs(explain_get(lookup, "key")), lqs(explain_get(lookup, "result")));
		if (has(lookup, "value"))
			printf(" \"%s\"", lqs(explain_get(lookup, "value")));
		putchar('\n');
	}
}

static void
print_command(const json_t *command)
{
	json_t *step;
	size_t i;

	printf("%s\n", lqs(has(command, "sent") ? explain_get(command, "sent")
						: explain_get(command, "command")));
	json_array_foreach(json_object_get(command, "steps"), i, step)
	{
		print_step(step);
	}
	print_lookups(command, "lookups");
	if (json_object_get(command, "code") != NULL)
		printf("  -> %d %s%s%s\n",
		    (int)json_integer_value(json_object_get(command, "code")),
		    lqs(explain_get(command, "dsn")), has(command, "dsn") ? " " : "",
		    lqs(explain_get(command, "text")));
}

static void
print_flat(const char *label, const json_t *o)
{
	const char *name;
	json_t *value;

	printf("  %s:", label);
	json_object_foreach((json_t *)o, name, value)
	{
		if (json_is_integer(value))
			printf(" %s=%lld", lqs(name), (long long)json_integer_value(value));
		else if (json_is_string(value))
			printf(" %s=%s", lqs(name), lqs(json_string_value(value)));
	}
	putchar('\n');
}

static void
print_recipient(const json_t *r)
{
	static const char *const parts[] = { "tls", "source", "limits", "destination_limits" };
	static const char *const faults[] = { "unavailable", "route_error", "relay_error" };

	printf("to <%s>", lqs(explain_get(r, "address")));
	if (has(r, "original"))
		printf(" (given as <%s>)", lqs(explain_get(r, "original")));
	if (has(r, "sender"))
		printf(" from <%s>", lqs(explain_get(r, "sender")));
	printf(": %s%s%s\n", lqs(explain_get(r, "transport")), has(r, "nexthop") ? ":" : "",
	    lqs(explain_get(r, "nexthop")));
	print_lookups(r, "expansion");
	print_lookups(r, "lookups");
	if (has(r, "host"))
		printf("  host: %s:%lld%s\n", lqs(explain_get(r, "host")),
		    (long long)json_integer_value(json_object_get(r, "port")),
		    strcmp(explain_get(r, "mx"), "yes") == 0 ? ", by its MX" : "");
	for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
		if (has(r, faults[i]))
			printf("  %s: %s\n", faults[i], lqs(explain_get(r, faults[i])));
	if (has(r, "status"))
		printf("  -> %s %s (%s)\n", lqs(explain_get(r, "status")),
		    lqs(explain_get(r, "dsn")), lqs(explain_get(r, "text")));
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
		if (json_object_get(r, parts[i]) != NULL)
			print_flat(parts[i], json_object_get(r, parts[i]));
}

void
explain_print(const json_t *out)
{
	static const char *const decided[] = { "hold", "discard", "redirect", "filter", "tls" };
	json_t *item;
	size_t i;

	json_array_foreach(json_object_get(out, "commands"), i, item)
	{
		print_command(item);
	}
	if (!json_is_true(json_object_get(out, "accepted"))) {
		puts("not accepted");
		return;
	}
	printf("accepted from <%s>\n", lqs(explain_get(out, "sender")));
	for (size_t d = 0; d < sizeof decided / sizeof decided[0]; d++)
		if (has(out, decided[d]))
			printf("  %s: %s\n", decided[d], lqs(explain_get(out, decided[d])));
	if (json_object_get(out, "tenant_limits") != NULL)
		print_flat("tenant_limits", json_object_get(out, "tenant_limits"));
	json_array_foreach(json_object_get(out, "prepended"), i, item)
	{
		printf("  prepended: %s\n", lqs(json_string_value(item)));
	}
	json_array_foreach(json_object_get(out, "recipients"), i, item)
	{
		print_recipient(item);
	}
}
