/*
 * revise.c
 *	  Brings a contact that was logged before up to what its row says now.
 *
 * The contact is locked before it is compared: what is told to others, such as whom it no longer counts for, must be
 * what it said last, whoever else revises it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "contact/contact.h"
#include "customer/customer.h"
#include "request/request.h"
#include "routing/routing.h"
#include "sla/sla.h"

static KeptPlan contact_hold = {
	.sql =
		"SELECT c.customer_id, c.occurred_at, c.contact_id, c.agent_id, c.channel, c.still, c.direction, c.request_id,"
		" c.thread, c.direction = 'inbound' AND c.outcome <> 'failed',"
		" (c.direction, c.outcome, c.agent_id, c.subject, c.body, c.payload) IS DISTINCT FROM ($3, $4, $5, $6, $7, $8),"
		" EXISTS (SELECT FROM omnichannel.request AS r WHERE r.request_id = c.request_id) "
		"FROM omnichannel.contact_key AS k "
		"JOIN omnichannel.contact AS c ON c.customer_id = k.customer_id AND c.occurred_at = k.occurred_at "
		"AND c.contact_id = k.contact_id "
		"JOIN omnichannel.customer AS who ON who.customer_id = k.customer_id AND who.erased_at IS NULL "
		"WHERE k.source = $1 AND k.source_key = $2 FOR NO KEY UPDATE OF c",
	.nargs = 8,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, JSONBOID},
	.indexed = true,
};

static KeptPlan contact_update = {
	.sql = "UPDATE omnichannel.contact AS c "
		   "SET direction = $4, outcome = $5, agent_id = $6, subject = $7, body = $8, payload = $9 "
		   "WHERE c.customer_id = $1 AND c.occurred_at = $2 AND c.contact_id = $3 "
		   "RETURNING c.customer_id, c.occurred_at, c.contact_id",
	.nargs = 9,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID, TEXTOID, TEXTOID, INT8OID, TEXTOID, TEXTOID, JSONBOID},
	.indexed = true,
};

static KeptPlan request_update = {
	.sql = "UPDATE omnichannel.contact SET request_id = $4"
		   " WHERE customer_id = $1 AND occurred_at = $2 AND contact_id = $3",
	.nargs = 4,
	.argtypes = {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID},
	.indexed = true,
};

/* Sets what a row says of its contact and may say otherwise later, in the order of the statements above. */
static void
take_said(const ContactEntry *entry, Datum *values, char *nulls)
{
	values[0] = CStringGetTextDatum(entry->direction);
	values[1] = CStringGetTextDatum(entry->outcome);
	values[2] = Int64GetDatum(entry->agent_id);
	values[3] = PointerGetDatum(entry->subject);
	values[4] = PointerGetDatum(entry->body);
	values[5] = PointerGetDatum(entry->payload);
	memset(nulls, ' ', 2);
	nulls[2] = entry->agent_id == 0 ? 'n' : ' ';
	for (int i = 3; i < 6; i++)
		nulls[i] = DatumGetPointer(values[i]) == NULL ? 'n' : ' ';
}

/*
 * Does to requests what an inbound contact does, once a contact turns out to be one: the open one is gone on with, or
 * one is opened. Sets the request. Needs an SPI scope.
 */
static void
turn_inbound(const ContactEntry *entry, SlaContact *revised)
{
	ContactEntry contact = {
		.customer_id = revised->customer_id,
		.channel = revised->channel,
		.direction = entry->direction,
		.outcome = entry->outcome,
		.occurred_at = revised->occurred_at,
		.thread = revised->thread,
		.source = entry->source,
		.contact_id = revised->contact_id,
		.request_id = revised->request_id,
	};
	Datum values[4];

	if (revised->request_id != 0)
	{
		requests_match(&contact, 1);
		requests_continue(&contact, 1);
		requests_moved(&contact, 1);
	}
	else
	{
		conversations_find(&contact, 1);
		if (contact.conversation != NULL)
		{
			CustomerPair pair = {.customer_id = contact.customer_id, .other_id = contact.conversation->customer_id};

			if (contact.conversation->known)
				customers_compare(&pair, 1);
			/* As where it was logged, somebody else's is not its own. */
			if (!pair.same)
				contact.conversation = NULL;
		}
		requests_continue(&contact, 1);
		requests_moved(&contact, 1);
		if (contact.request_id == 0)
			return;
		conversations_save(&contact, 1);
		revised->request_id = contact.request_id;
		values[0] = Int64GetDatum(revised->customer_id);
		values[1] = TimestampTzGetDatum(revised->occurred_at);
		values[2] = Int64GetDatum(revised->contact_id);
		values[3] = Int64GetDatum(revised->request_id);
		if (kept_plan_run(&request_update, values, NULL, false, 0) != 1)
			rows_not_taken("contact");
	}
	requests_changed(&revised->request_id, 1);
}

/*
 * contact_revise brings a contact that was logged before up to what its row says now; returns whether that changed it.
 *
 * That of an erased customer stays as it is. The time and the place in its conversation stay, and so does a customer
 * who is known: where a contact of somebody nameless names its customer now, the nameless one with all that was logged
 * of it turns out to be that one. One that is inbound now does to requests and clocks what it would have done when it
 * was logged. Needs an SPI scope. Raises 23503 for an agent that does not exist.
 */
bool
contact_revise(const ContactEntry *entry)
{
	Datum values[9] = {CStringGetTextDatum(entry->source), CStringGetTextDatum(entry->source_key)};
	char nulls[9] = {' ', ' ', ' '};
	bool isnull;
	int64 agent_id;
	bool changed = false;
	bool inbound;
	bool said;
	bool differs;
	bool exists;
	SlaContact revised = {.direction = entry->direction, .outcome = entry->outcome, .source = entry->source};

	take_said(entry, &values[2], &nulls[2]);
	/* What is deleted and inserted elsewhere by another transaction, as where it is moved by hand, is found then. */
	if (kept_plan_run(&contact_hold, values, nulls, false, 0) == 0 &&
		kept_plan_run(&contact_hold, values, nulls, false, 0) == 0)
		return false;
	revised.customer_id = DatumGetInt64(spi_datum(0, 1, &isnull));
	revised.occurred_at = DatumGetTimestampTz(spi_datum(0, 2, &isnull));
	revised.contact_id = DatumGetInt64(spi_datum(0, 3, &isnull));
	agent_id = DatumGetInt64(spi_datum(0, 4, &isnull));
	if (isnull)
		agent_id = 0;
	revised.channel = spi_text(0, 5, CurrentMemoryContext);
	(void) spi_datum(0, 6, &isnull);
	revised.still = !isnull;
	revised.internal = strcmp(spi_text(0, 7, CurrentMemoryContext), "internal") == 0;
	inbound = strcmp(spi_text(0, 7, CurrentMemoryContext), "inbound") == 0;
	revised.request_id = DatumGetInt64(spi_datum(0, 8, &isnull));
	if (isnull)
		revised.request_id = 0;
	revised.thread = spi_text(0, 9, CurrentMemoryContext);
	said = DatumGetBool(spi_datum(0, 10, &isnull));
	differs = DatumGetBool(spi_datum(0, 11, &isnull));
	exists = DatumGetBool(spi_datum(0, 12, &isnull));

	if (entry->named && (entry->stranger || entry->customer_id != revised.customer_id))
	{
		CustomerPair pair = {.customer_id = entry->customer_id, .other_id = revised.customer_id};

		customers_compare(&pair, 1);
		if (pair.nameless)
		{
			int64 both[2] = {entry->customer_id, revised.customer_id};

			if (entry->stranger)
				both[0] = customer_match(entry->kind, entry->value, true, NULL);
			(void) customers_hold(both, 2, NULL, 0);
			changed = customer_turned_out(revised.customer_id, both[0], "named later by the contact");
		}
	}

	if (differs)
	{
		values[0] = Int64GetDatum(revised.customer_id);
		values[1] = TimestampTzGetDatum(revised.occurred_at);
		values[2] = Int64GetDatum(revised.contact_id);
		take_said(entry, &values[3], &nulls[3]);
		if (kept_plan_run(&contact_update, values, nulls, false, 0) != 1 || !spi_row_is(0, values, NULL, 3))
			rows_not_taken("contact");
		SPI_freetuptable(SPI_tuptable);
		if (changed)
			customers_regroup(&revised.customer_id, 1);
		if (is_inbound(entry) && (revised.request_id == 0 ? !inbound : exists && (!inbound || !said)))
			turn_inbound(entry, &revised);
		sla_contact_revised(&revised);
		if (revised.internal && agent_id != entry->agent_id)
			sla_customers_hold(&revised.customer_id, 1);
		relationship_move(revised.customer_id, agent_id, entry->agent_id, revised.occurred_at);
		/* What was no answer, as it turns out, has let its request go on all the same: that is told then. */
		if (said && !is_said(entry) && revised.request_id != 0)
			requests_changed(&revised.request_id, 1);
		return true;
	}
	if (changed)
		customers_regroup(&revised.customer_id, 1);
	return changed;
}
