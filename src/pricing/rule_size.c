/*
 * rule_size.c
 *	  rule_size(): how much a segment's rule can make of little.
 *
 * Functions that replace or join put one text into another many times, and casts of arrays and JSON escape what was
 * escaped before: nested ones make gigabytes out of a short rule, for each customer. So a bound is reckoned of what
 * each part of it can come to, by the functions that a rule may call. What customers' own values come to is not for a
 * rule to say: each is taken to be of an ordinary length.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"

#include "pricing/rule.h"

/* Characters of a column's value, of a number, of what has a fixed length, and more than any value has. */
#define COLUMN_SIZE 1e4
#define NUMERIC_SIZE 1.5e5
#define FIXED_SIZE 64
#define ENDLESS 1e300

/* What one more level of a document can be looked through for, and what keyvalue() makes of each member of one. */
#define LEVELS 1000
#define MEMBERS 10

/* Brackets in brackets of a path. */
#define BRACKETS 32

static double value_size(Node *node, double *largest);

/* The functions that make more than the sum of what they are given, and how. */
typedef enum Growth
{
	GROWTH_REPLACE,   /* the third for each occurrence of the second */
	GROWTH_PATTERN,   /* the third, with parts of the first, for each match of the second */
	GROWTH_ELEMENTS,  /* the others for each element of the first */
	GROWTH_SEPARATOR, /* the first for each element of the others, of arrays their text form */
	GROWTH_TEXTS,     /* the sum, of arrays their text form, which escapes what is in it */
	GROWTH_GROUPS,    /* the first for each group of the second */
	GROWTH_TWO,       /* so many times the sum */
	GROWTH_SIX,
	GROWTH_SIXTEEN,
} Growth;

static const struct
{
	const char *name;
	Growth growth;
} growing[] = {
	{"array_positions", GROWTH_SIX},
	{"array_replace", GROWTH_ELEMENTS},
	{"array_to_string", GROWTH_ELEMENTS},
	{"concat", GROWTH_TEXTS},
	{"concat_ws", GROWTH_SEPARATOR},
	{"initcap", GROWTH_TWO},
	{"jsonb_build_array", GROWTH_SIX},
	{"jsonb_build_object", GROWTH_SIX},
	{"like_escape", GROWTH_TWO},
	{"lower", GROWTH_TWO},
	{"normalize", GROWTH_SIXTEEN},
	{"regexp_match", GROWTH_GROUPS},
	{"regexp_replace", GROWTH_PATTERN},
	{"regexp_split_to_array", GROWTH_SIX},
	{"replace", GROWTH_REPLACE},
	{"similar_to_escape", GROWTH_SIX},
	{"string_to_array", GROWTH_SIX},
	{"to_char", GROWTH_SIXTEEN},
	{"to_jsonb", GROWTH_SIX},
	{"upper", GROWTH_TWO},
};

/* Returns the text form of a constant, or NULL where the node is none. */
static char *
constant_text(Node *node)
{
	Oid output;
	bool varlena;

	if (node == NULL || !IsA(node, Const))
		return NULL;
	if (castNode(Const, node)->constisnull)
		return "";
	getTypeOutputInfo(castNode(Const, node)->consttype, &output, &varlena);
	return OidOutputFunctionCall(output, castNode(Const, node)->constvalue);
}

/* Returns how many items a path can find for each that it begins with. */
static double
path_growth(Node *path)
{
	const char *text = constant_text(path);
	double growth = 1;
	double listed[BRACKETS];
	int open = 0;

	if (text == NULL)
		return ENDLESS;
	for (; *text != '\0'; text++)
	{
		if (text[0] == '*' && text[1] == '*')
			growth *= LEVELS;
		else if (strncmp(text, ".keyvalue(", strlen(".keyvalue(")) == 0)
			growth *= MEMBERS;
		else if (*text == '"')
		{
			/* What is quoted is a name, or a text to compare with. */
			while (*++text != '"')
				if (*text == '\0' || (*text == '\\' && *++text == '\0'))
					return ENDLESS;
		}
		else if (*text == '[')
		{
			if (open == BRACKETS)
				return ENDLESS;
			listed[open++] = 1;
		}
		else if (*text == ',' && open > 0)
			listed[open - 1]++;
		else if (*text == ']' && open > 0)
			growth *= listed[--open];
	}
	return growth;
}

/* Returns how often a character stands in a pattern, which is at most its size where it is no constant. */
static double
count_in(Node *pattern, char wanted, double size)
{
	const char *text = constant_text(pattern);
	double n = 0;

	if (text == NULL)
		return size;
	for (; *text != '\0'; text++)
		n += *text == wanted;
	return n;
}

/* Returns the size of what a function or an operator makes of its arguments; name is NULL for an operator. */
static double
result_size(const char *name, List *args, double *largest)
{
	double sizes[3] = {0};
	double sum = FIXED_SIZE;
	double arrays = 0;
	double paths = 1;
	int n = 0;

	foreach_ptr (Node, arg, args)
	{
		double size = value_size(arg, largest);

		if (exprType(arg) == JSONPATHOID)
			paths *= path_growth(arg);
		if (type_is_array(exprType(arg)))
			arrays += size;
		if (n < (int) lengthof(sizes))
			sizes[n] = size;
		sum += size;
		n++;
	}
	sum *= paths;
	for (int i = 0; name != NULL && i < (int) lengthof(growing); i++)
	{
		if (strcmp(growing[i].name, name) != 0)
			continue;
		switch (growing[i].growth)
		{
			case GROWTH_REPLACE:
				return sizes[0] * Max(1, sizes[2] / (constant_text(lsecond(args)) != NULL ? Max(1, sizes[1]) : 1));
			case GROWTH_PATTERN:
				return (sizes[0] + 1) * (1.5 * sizes[2] + 1);
			case GROWTH_ELEMENTS:
				return sizes[0] * (1 + sum - FIXED_SIZE - sizes[0]);
			case GROWTH_SEPARATOR:
				return (sum + arrays - sizes[0]) * (1 + sizes[0]);
			case GROWTH_TEXTS:
				return sum + arrays;
			case GROWTH_GROUPS:
				return sizes[0] * (1 + count_in(lsecond(args), '(', sizes[1]));
			case GROWTH_TWO:
				return 2 * sum;
			case GROWTH_SIX:
				return 6 * sum;
			case GROWTH_SIXTEEN:
				return 16 * sum;
		}
	}
	return sum;
}

typedef struct Sum
{
	double sum;
	double *largest;
} Sum;

/* Adds the sizes of the parts of an expression. */
static bool
sum_size(Node *node, void *context)
{
	Sum *sum = context;

	if (node != NULL && (IsA(node, List) || IsA(node, CaseWhen)))
		return expression_tree_walker(node, sum_size, context);
	if (node != NULL)
		sum->sum += value_size(node, sum->largest) + 2;
	return false;
}

/* Returns how many characters a value of the expression can have; raises *largest to what any part of it can. */
static double
value_size(Node *node, double *largest)
{
	Sum parts = {FIXED_SIZE, largest};
	Oid type = exprType(node);
	const char *name;
	double size;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	switch (nodeTag(node))
	{
		case T_Const:
			size = strlen(constant_text(node));
			break;
		case T_Var:
			size = type == NUMERICOID ? FIXED_SIZE : COLUMN_SIZE;
			break;
		case T_FuncExpr:
			name = get_func_name(castNode(FuncExpr, node)->funcid);
			size = result_size(name, castNode(FuncExpr, node)->args, largest);
			break;
		case T_OpExpr:
			size = result_size(NULL, castNode(OpExpr, node)->args, largest);
			break;
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
			(void) expression_tree_walker(node, sum_size, &parts);
			size = 2 * parts.sum;
			break;
		default:
			(void) expression_tree_walker(node, sum_size, &parts);
			size = parts.sum;
			break;
	}
	/* What it takes to find a short value counts as well. */
	*largest = Max(*largest, size);
	if (get_typlen(type) > 0)
		return FIXED_SIZE;
	return type == NUMERICOID && !IsA(node, Const) && !IsA(node, Var) ? NUMERIC_SIZE : size;
}

/* rule_size returns how many characters the longest value can have that a rule makes, which holds what it may. */
double
rule_size(Node *rule)
{
	double largest = 0;

	(void) value_size(rule, &largest);
	return largest;
}
