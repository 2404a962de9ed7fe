/*
 * history.c
 *	  Tells the writes by which this room keeps the past of prices from those of anybody else.
 *
 * The triggers of price and price_list write prices themselves: what a price was until now, and the rows of derived
 * lists. Neither changes an answer about the past, and nobody else may write the like without being noted or refused.
 * A setting or a column that said so could be set by anyone; a mark in memory, up while such a trigger runs, cannot.
 *
 * Who writes prices, in whatever order, writes on into derived lists; who derives a list anew reads all of its source
 * and writes all of the list. No order of rows suits both, so the latter locks the table of prices against the former,
 * before anything else: that is the order, also for whoever changes a list first and its prices then.
 *
 * When a transaction ends is noted in the last moment in which it can write: no trigger is as late, as a deferred one
 * fires at once where all constraints are to be checked.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_lock_prices);
SQL_FUNCTION(omnichannel_note_change);
SQL_FUNCTION(omnichannel_stage_prices);
SQL_FUNCTION(omnichannel_write_prices);
SQL_FUNCTION(omnichannel_writes_prices);

/* How many calls of write_prices() are under way, one inside the other. */
static int writing = 0;

/*
 * write_prices('function'): calls this trigger function of the extension as the same trigger, marked as the room's own.
 *
 * Raises 39P01 unless it is a trigger of price or price_list: a hand-made one would be a way round the marks.
 */
Datum
omnichannel_write_prices(PG_FUNCTION_ARGS)
{
	LOCAL_FCINFO(call, 0);
	TriggerData *trigger = own_trigger(fcinfo, NULL);
	FmgrInfo function;
	Datum result = (Datum) 0;
	Oid relation;

	relation = RelationGetRelid(trigger->tg_relation);
	if (relation != omni_table("price") && relation != omni_table("price_list"))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"write_prices\" is for the extension's own triggers of price and price_list")));
	if (trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"write_prices\" needs the name of a trigger function as its argument")));

	fmgr_info(LookupFuncName(list_make2(makeString(pstrdup(OMNI_SCHEMA)), makeString(trigger->tg_trigger->tgargs[0])),
							 0, NULL, false),
			  &function);
	InitFunctionCallInfoData(*call, &function, 0, InvalidOid, fcinfo->context, NULL);
	writing++;
	PG_TRY();
	{
		result = FunctionCallInvoke(call);
	}
	PG_FINALLY();
	{
		writing--;
	}
	PG_END_TRY();
	fcinfo->isnull = call->isnull;
	return result;
}

/* writes_prices(): returns whether the room's own triggers are writing. Raises 55000 before setup(). */
Datum
omnichannel_writes_prices(PG_FUNCTION_ARGS)
{
	(void) omni_table("price");
	PG_RETURN_BOOL(writing > 0);
}

/* Returns whether a trigger of price_list is fired by what derives a list anew. */
static bool
derives(TriggerData *trigger)
{
	static const char *const columns[] = {"derived_from", "derived_adjust", "derived_surcharge", "derived_round_to"};

	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return true;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		AttrNumber column = get_attnum(RelationGetRelid(trigger->tg_relation), columns[i]);

		if (bms_is_member(column - FirstLowInvalidHeapAttributeNumber, trigger->tg_updatedcols))
			return true;
	}
	return false;
}

/* lock_prices(): locks the table of prices until the transaction ends; see the top of this file. Raises 39P01. */
Datum
omnichannel_lock_prices(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = own_trigger(fcinfo, "price_list");

	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"lock_prices\" is for the extension's own triggers of price_list")));
	LockRelationOid(omni_table("price"), derives(trigger) ? ShareRowExclusiveLock : RowExclusiveLock);
	return PointerGetDatum(TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ? trigger->tg_trigtuple : NULL);
}

/*
 * stage_prices(): lets one transaction at a time write to price_staging: see lock_staged_prices(). Raises 39P01.
 *
 * Whoever may do no more than insert may not lock the table so by itself, and need not.
 */
Datum
omnichannel_stage_prices(PG_FUNCTION_ARGS)
{
	(void) own_trigger(fcinfo, "price_staging");
	LockRelationOid(omni_table("price_staging"), ShareUpdateExclusiveLock);
	return PointerGetDatum(NULL);
}

/* Whether this transaction has noted that it changes prices. */
static bool noted = false;

static KeptPlan seen_update = {
	.sql = "UPDATE omnichannel.price_change AS change SET seen_at = clock_timestamp()"
		   " WHERE change.changed_at >= now() AND change.transaction = pg_current_xact_id()",
};

/* Notes that what the transaction changed will now be seen, unless it has dropped the table. */
static void
note_seen(void)
{
	Oid schema = get_namespace_oid(OMNI_SCHEMA, true);
	SpiScope scope;

	if (!OidIsValid(schema) || !OidIsValid(get_relname_relid("price_change", schema)))
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	spi_scope_begin(&scope, true);
	kept_plan_run(&seen_update, NULL, NULL, false, 0);
	spi_scope_end(&scope);
	PopActiveSnapshot();
}

static void
transaction_ends(XactEvent event, void *arg)
{
	if (!noted)
		return;
	noted = false;
	/* What is prepared is seen when somebody commits it: tick() finds out. */
	if (event == XACT_EVENT_PRE_COMMIT)
		note_seen();
}

/* note_change(): see its COMMENT. */
Datum
omnichannel_note_change(PG_FUNCTION_ARGS)
{
	static bool registered = false;
	Datum result = call_as_owner(fcinfo, NULL);

	/* Of a row that changes nothing for anybody it returns none. */
	if (TRIGGER_FIRED_FOR_ROW(((TriggerData *) fcinfo->context)->tg_event) && DatumGetPointer(result) == NULL)
		return result;
	if (!registered)
		RegisterXactCallback(transaction_ends, NULL);
	registered = true;
	noted = true;
	return PointerGetDatum(NULL);
}
