/*
 * log.c
 *	  log_contact(): an application logs a contact itself.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "omnichannel.h"
#include "contact/contact.h"

SQL_FUNCTION(omnichannel_is_contact);
SQL_FUNCTION(omnichannel_log_contact);

/* Returns an id, 0 for NULL; raises 23503 for one that no row can have. */
static int64
id_argument(FunctionCallInfo fcinfo, int argument, const char *what)
{
	int64 id = PG_ARGISNULL(argument) ? 0 : PG_GETARG_INT64(argument);

	if (!PG_ARGISNULL(argument) && id == 0)
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION), errmsg("%s 0 does not exist", what),
						errhint("Pass NULL where there is none.")));
	return id;
}

/* log_contact(channel, …): returns the contact's id, of the first one where source and key were logged before. */
Datum
omnichannel_log_contact(PG_FUNCTION_ARGS)
{
	ContactEntry entry = {0};
	SpiScope scope;

	entry.channel = text_argument(fcinfo, 0);
	entry.customer_id = id_argument(fcinfo, 1, "customer");
	entry.kind = text_argument(fcinfo, 2);
	entry.value = text_argument(fcinfo, 3);
	entry.direction = text_argument(fcinfo, 4);
	entry.outcome = text_argument(fcinfo, 5);
	entry.occurred_at = PG_ARGISNULL(6) ? GetCurrentTimestamp() : PG_GETARG_TIMESTAMPTZ(6);
	entry.agent_id = id_argument(fcinfo, 7, "agent");
	entry.request_id = id_argument(fcinfo, 8, "request");
	entry.thread = text_argument(fcinfo, 9);
	entry.subject = PG_ARGISNULL(10) ? NULL : PG_GETARG_TEXT_PP(10);
	entry.body = PG_ARGISNULL(11) ? NULL : PG_GETARG_TEXT_PP(11);
	entry.payload = PG_ARGISNULL(12) ? NULL : (struct varlena *) PG_GETARG_JSONB_P(12);
	entry.source = text_argument(fcinfo, 13);
	entry.source_key = text_argument(fcinfo, 14);

	if (entry.value != NULL && entry.kind == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the identity \"%s\" has no kind", excerpt(entry.value)),
						errhint("Name its kind, as in kind => 'email'.")));
	if (entry.customer_id != 0 && entry.value != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("both customer " INT64_FORMAT " and an identity are given", entry.customer_id),
						errhint("Pass customer_id, or kind and value.")));

	contact_check(&entry);
	spi_scope_begin(&scope, false);
	contact_write(&entry, 1, true, &(ContactBatches){0});
	if (entry.duplicate)
		entry.contact_id = contact_find(entry.source, entry.source_key);
	spi_scope_end(&scope);
	PG_RETURN_INT64(entry.contact_id);
}

/* is_contact(direction, outcome, occurred_at): returns whether the log may hold them. */
Datum
omnichannel_is_contact(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(code_known(PG_GETARG_TEXT_PP(0), false) && code_known(PG_GETARG_TEXT_PP(1), true) &&
				   !TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)));
}
