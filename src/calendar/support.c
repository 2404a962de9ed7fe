/*
 * support.c
 *	  What the planner is told of the functions about working time: cost, rows, selectivity.
 *
 * Estimates only, of what stands in the query: the planner must not fail, so that no table is read here. Where a
 * calendar is given by its code, it is taken for one of 40 hours a week.
 *
 * How many rows a condition such as deadline(opened_at, ...) < now() leaves cannot be told here: the planner asks the
 * operator, not the function below it. Statistics on the expression tell it.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "omnichannel.h"
#include "calendar/working_hours.h"

SQL_FUNCTION(omnichannel_calendar_support);

/* A calendar nobody knows: 40 hours in five spells. */
#define USUAL_SPELLS 5.0
#define USUAL_MINUTES 2400.0

/* An answer costs about as much as an operator; a calendar that may differ in each row is made anew. */
#define ANSWER_OPERATORS 1.0
#define NEW_CALENDAR_OPERATORS 100.0

/* Reading the tables of calendars, or making one calendar. */
#define FIRST_ANSWER_OPERATORS 1000.0

/* Rows where the query does not say of how long a time: a month, a few days. */
#define USUAL_PERIODS 22.0
#define USUAL_PARTS 4.0

/* By code the calendar is the last argument; by value it is the last three. */
#define GIVEN_ARGUMENTS 3
#define FEWEST_GIVEN 4

/* A week's number of spells and open minutes, as far as the query says them. */
typedef struct Week
{
	double spells;
	double minutes;
} Week;

static bool
calendar_is_given(List *args)
{
	return list_length(args) >= FEWEST_GIVEN;
}

/* Returns an argument as a constant that is not NULL, or NULL where it is none. */
static Const *
constant_argument(PlannerInfo *root, List *args, int n)
{
	Node *node = estimate_expression_value(root, list_nth(args, n));

	return IsA(node, Const) && !((Const *) node)->constisnull ? (Const *) node : NULL;
}

/* Returns whether the calendar is the same for all rows. */
static bool
calendar_is_constant(PlannerInfo *root, List *args)
{
	int count = list_length(args);

	for (int i = calendar_is_given(args) ? count - GIVEN_ARGUMENTS : count - 1; i < count; i++)
	{
		if (!is_pseudo_constant_clause(list_nth(args, i)))
			return false;
	}
	return true;
}

/* Returns the week of the calendar. */
static Week
estimate_week(PlannerInfo *root, List *args)
{
	Week week = {USUAL_SPELLS, USUAL_MINUTES};
	Const *hours = calendar_is_given(args) ? constant_argument(root, args, list_length(args) - GIVEN_ARGUMENTS) : NULL;

	if (hours != NULL)
	{
		WorkingHours *value = DatumGetWorkingHours(hours->constvalue);

		week.spells = WORKING_HOURS_COUNT(value);
		week.minutes = week_total(value->spells, WORKING_HOURS_COUNT(value));
	}
	return week;
}

/* Returns the rows of working_periods(a, b, …). */
static double
estimate_periods(PlannerInfo *root, List *args)
{
	Const *from = constant_argument(root, args, 0);
	Const *to = constant_argument(root, args, 1);
	double weeks;

	if (from == NULL || to == NULL)
		return USUAL_PERIODS;
	weeks = ((double) DatumGetTimestampTz(to->constvalue) - (double) DatumGetTimestampTz(from->constvalue)) /
			(7.0 * USECS_PER_DAY);
	return weeks <= 0 ? 1 : 1 + weeks * estimate_week(root, args).spells;
}

/* Returns the rows of explain_deadline(start, target, …). */
static double
estimate_explanation(PlannerInfo *root, List *args)
{
	Const *target = constant_argument(root, args, 1);
	Week week = estimate_week(root, args);
	Interval *interval;

	if (target == NULL)
		return USUAL_PARTS;
	interval = DatumGetIntervalP(target->constvalue);
	return 1 + fabs((double) interval->day) +
		   (week.minutes > 0 ? fabs((double) interval->time) / USECS_PER_MINUTE / week.minutes * week.spells : 0);
}

/* Returns the rows of a set-returning one: which it is, its second argument tells. */
static double
estimate_rows(PlannerInfo *root, List *args)
{
	return exprType(list_nth(args, 1)) == INTERVALOID ? estimate_explanation(root, args) : estimate_periods(root, args);
}

/* Fills in the number of rows; false where it cannot be told. */
static bool
support_rows(SupportRequestRows *request)
{
	if (request->node == NULL || !IsA(request->node, FuncExpr))
		return false;
	request->rows = clamp_row_est(estimate_rows(request->root, ((FuncExpr *) request->node)->args));
	return true;
}

/* Fills in the cost of a call; false where it cannot be told. */
static bool
support_cost(SupportRequestCost *request)
{
	List *args;
	double operators = ANSWER_OPERATORS;

	if (request->node == NULL || !IsA(request->node, FuncExpr))
		return false;
	args = ((FuncExpr *) request->node)->args;
	if (calendar_is_given(args) && !calendar_is_constant(request->root, args))
		operators = NEW_CALENDAR_OPERATORS;
	if (((FuncExpr *) request->node)->funcretset)
		operators += estimate_rows(request->root, args);
	request->startup = FIRST_ANSWER_OPERATORS * cpu_operator_cost;
	request->per_tuple = operators * cpu_operator_cost;
	return true;
}

/* Fills in how often is_working() is true: the open part of the week. */
static bool
support_selectivity(SupportRequestSelectivity *request)
{
	if (request->is_join || request->args == NIL)
		return false;
	request->selectivity = estimate_week(request->root, request->args).minutes / WEEK_MINUTES;
	return true;
}

/* calendar_support(internal): returns the request that it has filled in, or NULL. */
Datum
omnichannel_calendar_support(PG_FUNCTION_ARGS)
{
	Node *request = (Node *) PG_GETARG_POINTER(0);
	bool done = false;

	if (IsA(request, SupportRequestRows))
		done = support_rows((SupportRequestRows *) request);
	else if (IsA(request, SupportRequestCost))
		done = support_cost((SupportRequestCost *) request);
	else if (IsA(request, SupportRequestSelectivity))
		done = support_selectivity((SupportRequestSelectivity *) request);
	PG_RETURN_POINTER(done ? request : NULL);
}
