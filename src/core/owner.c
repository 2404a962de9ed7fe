/*
 * owner.c
 *	  Functions that run with the rights of the tables' owner.
 *
 * SECURITY DEFINER would lend them the rights of the extension's owner, a superuser as a rule, and with them whatever
 * triggers the tables' owner, who need be none, puts on the tables. So a function that others are to call without any
 * right on what it writes is one in C, which calls that of the same name with _as_owner behind it. Called by itself,
 * that one has no more rights than its caller.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_trigger_as_owner);

/* Looks up the function that has the same arguments as this one, and its name with _as_owner behind it. */
static Oid
find_body(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	char *name;
	Oid body;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	form = (Form_pg_proc) GETSTRUCT(tuple);
	name = psprintf("%s_as_owner", NameStr(form->proname));
	body = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(&form->proargtypes), ObjectIdGetDatum(form->pronamespace));
	if (!OidIsValid(body))
		elog(ERROR, "function %s does not exist", name);
	ReleaseSysCache(tuple);
	return body;
}

/*
 * own_trigger returns what a trigger function was called with; raises 39P01 unless it was by a trigger of a table of
 * the extension's: of this name, or any for NULL.
 *
 * Whoever may call a function may put it on a table of his own, whose columns are named alike and have types of his
 * making: neither the owner's rights nor code that takes columns for what they should be may meet those. So this comes
 * before anything that looks at a row.
 */
TriggerData *
own_trigger(FunctionCallInfo fcinfo, const char *table)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	char *name = get_func_name(fcinfo->flinfo->fn_oid);
	Form_pg_class form;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was not called by the trigger manager", name)));
	form = RelationGetForm(trigger->tg_relation);
	if (form->relnamespace != omni_schema() ||
		(table != NULL && RelationGetRelid(trigger->tg_relation) != omni_table(table)))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was called for table \"%s\"", name,
							   RelationGetRelationName(trigger->tg_relation)),
						table != NULL ? errhint("The trigger belongs to the table %s.%s.", OMNI_SCHEMA, table)
									  : errhint("The trigger belongs to tables that setup() makes.")));
	if (form->relowner != omni_owner())
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s\" was called for table \"%s\" of another owner", name,
							   RelationGetRelationName(trigger->tg_relation)),
						errdetail("The table belongs to %s, the table %s.company to %s.",
								  GetUserNameFromId(form->relowner, false), OMNI_SCHEMA,
								  GetUserNameFromId(omni_owner(), false)),
						errhint("All tables that setup() makes belong to one role.")));
	return trigger;
}

/*
 * call_as_owner returns what the function that does the work returns, called with the rights of the tables' owner.
 *
 * readable names a table that the caller must be allowed to read, NULL for a trigger function: that fires for whoever
 * may write to its table, and only on the extension's own. Raises 42501, 39P01, 55000 before setup(), and what the
 * function raises.
 */
Datum
call_as_owner(FunctionCallInfo fcinfo, const char *readable)
{
	LOCAL_FCINFO(call, FUNC_MAX_ARGS);
	FmgrInfo *body = fcinfo->flinfo->fn_extra;
	OwnerSwitch owner;
	Datum result;

	if (readable != NULL)
	{
		AclResult right = pg_class_aclcheck(omni_table(readable), GetUserId(), ACL_SELECT);

		if (right != ACLCHECK_OK)
			aclcheck_error(right, OBJECT_TABLE, readable);
	}
	else
		(void) own_trigger(fcinfo, NULL);
	if (body == NULL)
	{
		body = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, sizeof(FmgrInfo));
		fmgr_info_cxt(find_body(fcinfo->flinfo->fn_oid), body, fcinfo->flinfo->fn_mcxt);
		fcinfo->flinfo->fn_extra = body;
	}
	InitFunctionCallInfoData(*call, body, fcinfo->nargs, fcinfo->fncollation, fcinfo->context, NULL);
	for (int i = 0; i < fcinfo->nargs; i++)
		call->args[i] = fcinfo->args[i];
	owner_switch_begin(&owner);
	result = FunctionCallInvoke(call);
	owner_switch_end(&owner);
	fcinfo->isnull = call->isnull;
	return result;
}

/* Trigger functions of the rooms: see the COMMENT of each. */
Datum
omnichannel_trigger_as_owner(PG_FUNCTION_ARGS)
{
	return call_as_owner(fcinfo, NULL);
}
