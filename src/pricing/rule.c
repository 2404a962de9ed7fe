/*
 * rule.c
 *	  check_segment_rule(): whether a text is one SQL expression that may decide who is in a segment.
 *
 * A rule is run by whoever refreshes the segments, perhaps with more rights than its author has. So it must be an
 * expression and nothing else, of functions and types that PostgreSQL itself brings and that change nothing: a type of
 * others brings the checks of its domain, its casts and its comparisons along, a view that is made XML its functions.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parser.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "omnichannel.h"

SQL_FUNCTION(omnichannel_check_segment_rule);

/* Returns whether a function is not PostgreSQL's own. */
static bool
foreign_function(Oid function, void *context)
{
	if (get_func_namespace(function) == PG_CATALOG_NAMESPACE && function < FirstNormalObjectId)
		return false;
	*(Oid *) context = function;
	return true;
}

static bool
find_foreign_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, foreign_function, context))
		return true;
	return expression_tree_walker(node, find_foreign_function, context);
}

/* Functions that PostgreSQL brings, and calls stable, that run whatever a table or view named to them holds. */
static const char *const querying_functions[] = {
	"table_to_xml",    "table_to_xml_and_xmlschema",    "schema_to_xml", "schema_to_xml_and_xmlschema",
	"database_to_xml", "database_to_xml_and_xmlschema",
};

static bool
querying_function(Oid function, void *context)
{
	const char *name = get_func_name(function);

	for (int i = 0; i < (int) lengthof(querying_functions); i++)
	{
		if (name != NULL && strcmp(name, querying_functions[i]) == 0)
		{
			*(Oid *) context = function;
			return true;
		}
	}
	return false;
}

static bool
find_querying_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, querying_function, context))
		return true;
	return expression_tree_walker(node, find_querying_function, context);
}

/* Finds a value of a type that is not PostgreSQL's own. */
static bool
find_foreign_type(Node *node, void *context)
{
	Oid type;

	if (node == NULL)
		return false;
	type = IsA(node, List) || IsA(node, CaseWhen) ? InvalidOid : exprType(node);
	if (type >= FirstNormalObjectId)
	{
		*(Oid *) context = type;
		return true;
	}
	return expression_tree_walker(node, find_foreign_type, context);
}

static bool
find_subquery(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, Query))
		return true;
	return expression_tree_walker(node, find_subquery, context);
}

static void
refuse(const char *rule, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is no rule for a segment: %s", rule, why),
			 errhint("Write one expression over the columns of omnichannel.segment_input, as in language = 'pl'.")));
}

/* check_segment_rule(rule): returns nothing, or raises 22023 or 42601 for what is no rule. */
Datum
omnichannel_check_segment_rule(PG_FUNCTION_ARGS)
{
	char *rule = text_to_cstring(PG_GETARG_TEXT_PP(0));
	List *parsed = raw_parser(rule, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select;
	Query *query;
	Node *expression;
	SpiScope scope;
	Oid function = InvalidOid;
	Oid type = InvalidOid;
	char *statement;

	/* Alone first: what follows a parenthesis in the statement below could otherwise end it. */
	select = list_length(parsed) == 1 ? (SelectStmt *) linitial_node(RawStmt, parsed)->stmt : NULL;
	if (select == NULL || !IsA(select, SelectStmt) || list_length(select->targetList) != 1 ||
		select->fromClause != NIL || select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL || select->sortClause != NIL ||
		select->limitCount != NULL || select->limitOffset != NULL || select->lockingClause != NIL ||
		select->distinctClause != NIL || select->intoClause != NULL || select->op != SETOP_NONE ||
		select->withClause != NULL || select->valuesLists != NIL || linitial_node(ResTarget, select->targetList)->name)
		refuse(rule, "it is more than one expression");

	omni_table("segment_input");
	spi_scope_begin(&scope, false);
	statement = psprintf("SELECT (%s\n) FROM omnichannel.segment_input AS customer", rule);
	query = parse_fixed(linitial_node(RawStmt, pg_parse_query(statement)), statement);
	expression = (Node *) linitial_node(TargetEntry, query->targetList)->expr;
	if (exprType(expression) != BOOLOID)
		refuse(rule, "it is not true or false");
	if (query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs)
		refuse(rule, "it needs more than one row");
	if (query->hasSubLinks || find_subquery(expression, NULL))
		refuse(rule, "it holds a query");
	if (contain_volatile_functions(expression))
		refuse(rule, "it calls a function that is volatile");
	if (find_foreign_function(expression, &function))
		refuse(rule, psprintf("it calls the function %s", get_func_name(function)));
	if (find_querying_function(expression, &function))
		refuse(rule, psprintf("the function %s reads tables", get_func_name(function)));
	if (find_foreign_type(expression, &type))
		refuse(rule, psprintf("it has a value of type %s", format_type_be(type)));
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}
