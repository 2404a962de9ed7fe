/*
 * rule.c
 *	  check_segment_rule(): whether a text is one SQL expression that may decide who is in a segment.
 *
 * A rule is run by whoever refreshes the segments, perhaps with more rights than its author has. So what it may hold is
 * listed, not what it may not: PostgreSQL itself brings functions that run what a table, a view or a type that is named
 * to them holds (XML of a view, the input of a domain), and every version brings more.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "parser/parser.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "pricing/rule.h"

SQL_FUNCTION(omnichannel_check_segment_rule);

/* The most characters that a value may come to which a rule makes of customers' own. */
#define LARGEST_VALUE 1e8

/*
 * What a rule may call by name, in byte order. Each only computes from the values given to it, of the types below: none
 * reads a table, looks up a type or a function by a name or an oid given to it, or makes much of little.
 */
static const char *const callable[] = {
	"abs",
	"age",
	"array_append",
	"array_cat",
	"array_length",
	"array_lower",
	"array_ndims",
	"array_position",
	"array_positions",
	"array_prepend",
	"array_remove",
	"array_replace",
	"array_to_string",
	"array_upper",
	"bit_length",
	"btrim",
	"cardinality",
	"cbrt",
	"ceil",
	"ceiling",
	"char_length",
	"character_length",
	"concat",
	"concat_ws",
	"date",
	"date_bin",
	"date_part",
	"date_trunc",
	"daterange",
	"degrees",
	"div",
	"exp",
	"extract",
	"floor",
	"gcd",
	"hashint8",
	"hashint8extended",
	"hashtext",
	"hashtextextended",
	"initcap",
	"int4range",
	"int8range",
	"isempty",
	"isfinite",
	"json_array_length",
	"json_extract_path",
	"json_extract_path_text",
	"json_typeof",
	"jsonb_array_length",
	"jsonb_build_array",
	"jsonb_build_object",
	"jsonb_extract_path",
	"jsonb_extract_path_text",
	"jsonb_path_exists",
	"jsonb_path_exists_tz",
	"jsonb_path_match",
	"jsonb_path_match_tz",
	"jsonb_path_query_array",
	"jsonb_path_query_first",
	"jsonb_strip_nulls",
	"jsonb_typeof",
	"justify_days",
	"justify_hours",
	"justify_interval",
	"lcm",
	"left",
	"length",
	"like_escape",
	"ln",
	"log",
	"log10",
	"lower",
	"lower_inc",
	"lower_inf",
	"ltrim",
	"make_date",
	"make_interval",
	"make_time",
	"make_timestamp",
	"make_timestamptz",
	"md5",
	"min_scale",
	"mod",
	"normalize",
	"now",
	"num_nonnulls",
	"num_nulls",
	"numrange",
	"octet_length",
	"overlaps",
	"overlay",
	"pi",
	"position",
	"power",
	"radians",
	"range_merge",
	"regexp_count",
	"regexp_instr",
	"regexp_like",
	"regexp_match",
	"regexp_replace",
	"regexp_split_to_array",
	"regexp_substr",
	"replace",
	"reverse",
	"right",
	"round",
	"rtrim",
	"scale",
	"sign",
	"similar_to_escape",
	"split_part",
	"sqrt",
	"starts_with",
	"statement_timestamp",
	"string_to_array",
	"strpos",
	"substr",
	"substring",
	"timezone",
	"to_char",
	"to_date",
	"to_jsonb",
	"to_number",
	"to_timestamp",
	"transaction_timestamp",
	"translate",
	"trim_array",
	"trim_scale",
	"trunc",
	"tsrange",
	"tstzrange",
	"unistr",
	"upper",
	"upper_inc",
	"upper_inf",
	"width_bucket",
};

static int
compare_names(const void *name, const void *entry)
{
	return strcmp(name, *(const char *const *) entry);
}

/* Returns whether the function is PostgreSQL's own and may be called, by name or as what an operator or cast does. */
static bool
may_call(Oid function, bool by_name)
{
	char *name = get_func_name(function);

	return function < FirstNormalObjectId && name != NULL && get_func_namespace(function) == PG_CATALOG_NAMESPACE &&
		   (!by_name || bsearch(name, callable, lengthof(callable), sizeof(callable[0]), compare_names) != NULL);
}

/* Returns whether a rule may hold values of the type: plain ones, and arrays, ranges and multiranges of them. */
static bool
may_hold(Oid type)
{
	Oid inner;

	switch (type)
	{
		case BOOLOID:
		case BPCHAROID:
		case BYTEAOID:
		case DATEOID:
		case FLOAT4OID:
		case FLOAT8OID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case INTERVALOID:
		case JSONBOID:
		case JSONOID:
		case JSONPATHOID:
		case NUMERICOID:
		case TEXTOID:
		case TIMEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case TIMETZOID:
		case UNKNOWNOID: /* a literal whose type does not matter */
		case UUIDOID:
		case VARCHAROID:
			return true;
		default:
			break;
	}
	/* An array or a range of someone's own can have a plain element, but its own name and functions. */
	if (type >= FirstNormalObjectId)
		return false;
	if (OidIsValid(inner = get_element_type(type)) || OidIsValid(inner = get_range_subtype(type)) ||
		OidIsValid(inner = get_multirange_range(type)))
		return may_hold(inner);
	return false;
}

/* Finds what a rule may not hold, and says what it is; what is not known to be harmless may not. */
static bool
find_refused(Node *node, void *context)
{
	const char **why = context;
	Oid function = InvalidOid;
	Oid operator= InvalidOid;
	bool by_name = false;

	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_List:
		case T_CaseWhen:
			return expression_tree_walker(node, find_refused, context);
		case T_FuncExpr:
			function = ((FuncExpr *) node)->funcid;
			by_name = ((FuncExpr *) node)->funcformat != COERCE_EXPLICIT_CAST &&
					  ((FuncExpr *) node)->funcformat != COERCE_IMPLICIT_CAST;
			break;
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
			function = ((OpExpr *) node)->opfuncid;
			operator=((OpExpr *) node)->opno;
			break;
		case T_ScalarArrayOpExpr:
			function = ((ScalarArrayOpExpr *) node)->opfuncid;
			operator=((ScalarArrayOpExpr *) node)->opno;
			break;
		case T_ArrayCoerceExpr:
		case T_ArrayExpr:
		case T_BoolExpr:
		case T_BooleanTest:
		case T_CaseExpr:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_CoerceViaIO:
		case T_CollateExpr:
		case T_Const:
		case T_MinMaxExpr:
		case T_NamedArgExpr:
		case T_NullTest:
		case T_RelabelType:
		case T_SQLValueFunction:
		case T_SubscriptingRef:
		case T_Var:
			break;
		case T_SubLink:
			*why = "it holds a query";
			return true;
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
			*why = "it needs more than one row";
			return true;
		default:
			*why = "it holds more than plain comparisons, operators, CASE and calls of functions";
			return true;
	}
	if (OidIsValid(function) && !may_call(function, by_name))
	{
		*why = psprintf("it calls the function %s", get_func_name(function));
		return true;
	}
	/* An operator of the author's could be made another one after the check, whatever function it has now. */
	if (operator>= FirstNormalObjectId)
	{
		*why = psprintf("it uses an operator %s that is not PostgreSQL's", get_opname(operator));
		return true;
	}
	if (!may_hold(exprType(node)))
	{
		*why = psprintf("it has a value of type %s", format_type_be(exprType(node)));
		return true;
	}
	return expression_tree_walker(node, find_refused, context);
}

/* Returns the names of callable[], for people. */
static const char *
callable_names(void)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < (int) lengthof(callable); i++)
		appendStringInfo(&names, "%s%s", i == 0 ? "" : ", ", callable[i]);
	return names.data;
}

static void
refuse(const char *rule, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is no rule for a segment: %s", rule, why),
			 errdetail("Operators and casts are free; the functions that can be called by name are %s.",
					   callable_names()),
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
	const char *why = NULL;
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
	if (find_refused(expression, &why))
		refuse(rule, why);
	if (exprType(expression) != BOOLOID)
		refuse(rule, "it is not true or false");
	if (rule_size(expression) > LARGEST_VALUE)
		refuse(rule, "what is nested in it can make values of more than 100 MB out of little");
	spi_scope_end(&scope);
	PG_RETURN_VOID();
}
