/*
 * expression.c
 *	  Expressions of columns and constraints, compiled once a backend where that is safe.
 *
 * The executor reads and compiles a table's checks and defaults again for each statement, which for one row costs as
 * much as the row. An expression is kept under its own text, as the catalogue has it, so that nothing has to be told of
 * changed tables; and for the role that it was compiled for, because compiling checks the right to execute. Only what
 * built-in functions and this extension's own in C do is kept: others can be replaced, and can come back here while
 * they run. Each lies in memory of its own, with the constants that it was read with. What works on whole rows is not
 * kept, because the executor remembers their types in the memory of the statement, and types of rows can change.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "omnichannel.h"
#include "core/direct_write.h"

typedef struct KeptExpression
{
	struct KeptExpression *next;
	uint32 hash;
	Oid role;
	bool changeable; /* may have another value for each row */
	const char *node;
	ExprState *state;
} KeptExpression;

#define KEPT_LISTS 64

static KeptExpression *kept_expressions[KEPT_LISTS];
static MemoryContext kept_context;
static bool functions_changed;
static int users; /* executor states that may hold some of them */

/* Notes that a function was replaced, or who may execute it. */
static void
function_changed(Datum arg, int cache, uint32 hash)
{
	functions_changed = true;
}

/* Returns whether a function is one that must not be kept; for check_functions_in_node(). */
static bool
is_foreign_function(Oid function, void *context)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc form;
	bool foreign;

	if (!HeapTupleIsValid(tuple))
		return true;
	form = (Form_pg_proc) GETSTRUCT(tuple);
	foreign =
		form->prolang != INTERNALlanguageId && (form->prolang != ClanguageId || form->pronamespace != omni_schema());
	ReleaseSysCache(tuple);
	return foreign;
}

/* Returns whether a node makes a row, or takes one apart. */
static bool
is_of_rows(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Var:
			return type_is_rowtype(((Var *) node)->vartype);
		case T_Const:
			return type_is_rowtype(((Const *) node)->consttype);
		case T_FuncExpr:
			return type_is_rowtype(((FuncExpr *) node)->funcresulttype);
		case T_CoerceViaIO:
			return type_is_rowtype(((CoerceViaIO *) node)->resulttype);
		case T_RowExpr:
		case T_FieldSelect:
		case T_FieldStore:
		case T_ConvertRowtypeExpr:
			return true;
		default:
			return false;
	}
}

/* Returns whether an expression has a part that must not be kept. */
static bool
has_foreign_part(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, CoerceToDomain) || IsA(node, CoerceToDomainValue) || IsA(node, NextValueExpr) || is_of_rows(node) ||
		check_functions_in_node(node, is_foreign_function, NULL))
		return true;
	return expression_tree_walker(node, has_foreign_part, context);
}

/* expression_is_safe returns whether the compiled form of an expression may be kept over statements. */
bool
expression_is_safe(Node *expression)
{
	return !has_foreign_part(expression, NULL);
}

/* Returns the place of an expression, or NULL where it is not kept. */
static KeptExpression *
find_kept(const char *node, uint32 hash)
{
	for (KeptExpression *kept = kept_expressions[hash % KEPT_LISTS]; kept != NULL; kept = kept->next)
		if (kept->hash == hash && kept->role == GetUserId() && strcmp(kept->node, node) == 0)
			return kept;
	return NULL;
}

/* Forgets all expressions, unless one is in use; returns whether it did. */
static bool
forget_all(void)
{
	if (users > 0)
		return false;
	if (kept_context != NULL)
		MemoryContextDelete(kept_context);
	kept_context = NULL;
	memset(kept_expressions, 0, sizeof(kept_expressions));
	functions_changed = false;
	return true;
}

/* Ends the use that an executor state made of kept expressions; at its end, whether by an error or not. */
static void
user_ended(void *arg)
{
	users--;
}

/* Says that expressions are in use as long as the executor state lives. */
void
expressions_use(EState *estate)
{
	MemoryContextCallback *callback = MemoryContextAllocZero(estate->es_query_cxt, sizeof(MemoryContextCallback));

	callback->func = user_ended;
	MemoryContextRegisterResetCallback(estate->es_query_cxt, callback);
	users++;
}

/*
 * expression_get returns the compiled form of an expression as the catalogue has it, and whether its value may change
 * from row to row.
 *
 * It is good for as long as the executor state, for which expressions_use() was called. Raises 42501 where the current
 * role may not execute a function in it.
 */
ExprState *
expression_get(const char *node, EState *estate, bool *changeable)
{
	uint32 hash = hash_bytes((const unsigned char *) node, (int) strlen(node));
	KeptExpression *kept;
	Node *expression;
	MemoryContext context;
	MemoryContext old;

	if (kept_context == NULL)
	{
		static bool registered = false;

		if (!registered)
		{
			CacheRegisterSyscacheCallback(PROCOID, function_changed, (Datum) 0);
			CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, function_changed, (Datum) 0);
			CacheRegisterSyscacheCallback(AUTHOID, function_changed, (Datum) 0);
		}
		registered = true;
		kept_context = AllocSetContextCreate(CacheMemoryContext, "omnichannel expressions", ALLOCSET_SMALL_SIZES);
	}
	if (!functions_changed)
	{
		kept = find_kept(node, hash);
		if (kept != NULL)
		{
			*changeable = kept->changeable;
			return kept->state;
		}
	}

	if (functions_changed && forget_all())
		return expression_get(node, estate, changeable);

	/* All of it, constants too, must live as long as the compiled form; it goes with the statement's in an error. */
	context = AllocSetContextCreate(estate->es_query_cxt, "omnichannel expression", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	expression = stringToNode(node);
	*changeable = contain_volatile_functions(expression);
	if (functions_changed || !expression_is_safe(expression))
	{
		MemoryContextSwitchTo(old);
		return ExecPrepareExpr((Expr *) expression, estate);
	}
	kept = palloc0(sizeof(KeptExpression));
	kept->hash = hash;
	kept->role = GetUserId();
	kept->changeable = *changeable;
	kept->node = pstrdup(node);
	kept->state = ExecInitExpr(expression_planner((Expr *) expression), NULL);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, kept_context);
	kept->next = kept_expressions[hash % KEPT_LISTS];
	kept_expressions[hash % KEPT_LISTS] = kept;
	return kept->state;
}
