/*
 * owner.c
 *	  Functions in PL/pgSQL that run with the rights of the tables' owner.
 *
 * SECURITY DEFINER would lend them the rights of the extension's owner, a superuser as a rule, and with them whatever
 * triggers the tables' owner, who need be none, puts on the tables. So a function that others are to call without any
 * right on what it writes is one in C, which calls that of the same name with _as_owner behind it. Called by itself,
 * that one has no more rights than its caller.
 */
#include "postgres.h"

#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
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
 * call_as_owner returns what the function that does the work returns, called with the rights of the tables' owner.
 *
 * readable names a table that the caller must be allowed to read, NULL for a trigger function: that fires for whoever
 * may write to its table, and must look itself at which that is. Raises 42501, 55000 before setup(), and what the
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
