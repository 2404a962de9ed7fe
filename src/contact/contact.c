/*
 * contact.c
 *	  What a contact may be: its codes, times and sizes.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "customer/customer.h"
#include "request/request.h"

/* A clock of an application's server may run ahead of the database's by this much. */
#define CLOCK_SKEW (60 * USECS_PER_SEC)
/* A subject is what fits a line of RFC 5322. */
#define SUBJECT_MAX 998
#define DOCUMENT_MAX (1024 * 1024)

static const char *const directions[] = {"inbound", "outbound", "internal"};
static const char *const outcomes[] = {"received",  "sent",      "answered", "missed",
									   "abandoned", "voicemail", "busy",     "failed"};

/* Returns the code among known that value equals; raises 22023 for any other. */
static const char *
code_check(const char *value, const char *what, const char *const *known, int count)
{
	StringInfoData names;

	for (int i = 0; i < count; i++)
		if (strcmp(value, known[i]) == 0)
			return known[i];

	initStringInfo(&names);
	for (int i = 0; i < count; i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", known[i]);
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("\"%s\" is no %s of a contact", excerpt(value), what),
					errhint("It is one of %s.", names.data)));
}

/* Returns the direction; raises 22023 where it is none. */
const char *
direction_check(const char *direction)
{
	return code_check(direction, "direction", directions, lengthof(directions));
}

/* Returns whether a checked contact came from the customer. */
bool
is_inbound(const ContactEntry *entry)
{
	return entry->direction == directions[0];
}

/* Returns whether a checked contact is one between colleagues, which starts and stops nothing. */
bool
is_internal(const ContactEntry *entry)
{
	return entry->direction == directions[2];
}

/* Returns whether the customer has said something in a checked contact. */
bool
is_said(const ContactEntry *entry)
{
	return is_inbound(entry) && strcmp(entry->outcome, "failed") != 0;
}

/*
 * Returns whether a checked contact is what a request has waited for since that time: what the customer said before,
 * and is logged late, changes nothing, as if it had been logged before.
 */
bool
ends_wait(const ContactEntry *entry, TimestampTz waits_since)
{
	return is_said(entry) && entry->occurred_at >= waits_since;
}

/* is_loose returns whether the request of an entry is neither named nor that of its conversation. */
bool
is_loose(const ContactEntry *entry)
{
	return entry->request_customer == 0 && entry->conversation == NULL;
}

/* Returns the outcome; raises 22023 where it is none. */
const char *
outcome_check(const char *outcome)
{
	return code_check(outcome, "outcome", outcomes, lengthof(outcomes));
}

/* Returns whether a text is a known outcome or else direction. */
bool
code_known(const text *code, bool outcome)
{
	const char *const *known = outcome ? outcomes : directions;
	int count = outcome ? lengthof(outcomes) : lengthof(directions);
	size_t length = VARSIZE_ANY_EXHDR(code);

	for (int i = 0; i < count; i++)
		if (strlen(known[i]) == length && memcmp(known[i], VARDATA_ANY(code), length) == 0)
			return true;
	return false;
}

/* Raises 22023 for an empty key and 22001 for one that is too long. */
static void
key_check(const char *value, const char *what)
{
	if (value == NULL)
		return;
	if (value[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the %s of a contact is empty", what),
						errhint("Leave it NULL where there is none.")));
	if (strlen(value) > KEY_MAX)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the %s \"%s\" of a contact is longer than %d bytes", what, excerpt(value), KEY_MAX),
						errhint("It identifies; what it says belongs in the body or the payload.")));
}

/* Raises 54000 for a document that is too large. */
static void
document_check(struct varlena *document, const char *what)
{
	Size size = document == NULL ? 0 : toast_raw_datum_size(PointerGetDatum(document)) - VARHDRSZ;

	if (size > DOCUMENT_MAX)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the %s of a contact has %zu bytes, more than %d", what, size, DOCUMENT_MAX),
						errhint("Keep it where it is and log a reference to it.")));
}

/*
 * contact_check_texts checks what a contact says and is known by; raises 22023 for an empty key, 22001 and 54000 for
 * what is too long.
 */
void
contact_check_texts(const ContactEntry *entry)
{
	key_check(entry->thread, "thread");
	key_check(entry->source, "source");
	key_check(entry->source_key, "source key");
	if (entry->source_key != NULL && entry->source == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the source key \"%s\" has no source", excerpt(entry->source_key)),
						errhint("Name the application or the table that the key is of.")));
	if (entry->subject != NULL && toast_raw_datum_size(PointerGetDatum(entry->subject)) - VARHDRSZ > SUBJECT_MAX)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the subject of a contact is longer than %d bytes", SUBJECT_MAX),
						errhint("What the contact says belongs in the body.")));
	document_check((struct varlena *) entry->body, "body");
	document_check(entry->payload, "payload");
}

/*
 * contact_check_when_who checks when a contact occurred, and brings its identity into the normal form.
 *
 * Raises 23503 for an unknown kind of identity, 22023 for a bad identity, 22008 for a time that is infinite or to come.
 */
void
contact_check_when_who(ContactEntry *entry)
{
	if (TIMESTAMP_NOT_FINITE(entry->occurred_at) || entry->occurred_at > GetCurrentTimestamp() + CLOCK_SKEW)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("a contact cannot have occurred at %s", timestamptz_to_str(entry->occurred_at)),
						errhint("The log takes what has happened, up to a minute ahead of the server's clock.")));

	if (entry->customer_id != 0)
		entry->kind = entry->value = NULL;
	else if (entry->kind != NULL && entry->value != NULL)
		entry->value = identity_normalise(entry->kind, entry->value);
	else
		entry->kind = entry->value = NULL;
}

/*
 * contact_check fills in what an entry leaves to defaults and brings its identity into the normal form.
 *
 * Raises 23503 for an unknown channel or kind of identity, 22023 for a bad identity, direction, outcome or key, 22008
 * for a time that is infinite or to come, 22001 and 54000 for what is too long.
 */
void
contact_check(ContactEntry *entry)
{
	if (entry->channel == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("the channel of a contact is NULL"),
						errhint("The table omnichannel.channel lists the channels.")));
	(void) channel_get(entry->channel);

	entry->direction = entry->direction == NULL ? directions[0] : direction_check(entry->direction);
	if (entry->outcome != NULL)
		entry->outcome = outcome_check(entry->outcome);
	else
		entry->outcome = entry->direction == directions[0] ? outcomes[0] : outcomes[1];

	contact_check_texts(entry);
	contact_check_when_who(entry);
}
