/*
 * text.c
 *	  Texts as arguments, compared, and as messages show them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "omnichannel.h"

/* Returns a text argument as a C string, NULL for NULL. */
char *
text_argument(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* Returns as much of a text as belongs in a message; never cuts a character. */
const char *
excerpt(const char *value)
{
	int length = (int) strlen(value);

	if (length <= 100)
		return value;
	return psprintf("%.*s...", pg_mbcliplen(value, length, 100), value);
}

/* Returns an interval as text, for messages. */
const char *
interval_text(const Interval *interval)
{
	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)));
}

/* Returns whether a text is this one, byte by byte. */
bool
text_equals(Datum value, const char *expected)
{
	text *compared = DatumGetTextPP(value);
	size_t length = VARSIZE_ANY_EXHDR(compared);

	return length == strlen(expected) && memcmp(VARDATA_ANY(compared), expected, length) == 0;
}
