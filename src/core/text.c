/*
 * text.c
 *	  Values as messages show them.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "omnichannel.h"

/* Returns as much of a text as belongs in a message; never cuts a character. */
const char *
excerpt(const char *value)
{
	int length = (int) strlen(value);

	if (length <= 100)
		return value;
	return psprintf("%.*s...", pg_mbcliplen(value, length, 100), value);
}
