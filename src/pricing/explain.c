/*
 * explain.c
 *	  explain_quote(): what became of every candidate for a price.
 *
 * It asks the resolver the same question as quote() does and listens: there is no second engine that could disagree.
 */
#include "postgres.h"

#include "funcapi.h"
#include "utils/builtins.h"

#include "pricing/pricing.h"

SQL_FUNCTION(omnichannel_explain_quote);
SQL_FUNCTION(omnichannel_explain_quote_segments);

enum
{
	EXPLAIN_STEP,
	EXPLAIN_KIND,
	EXPLAIN_CANDIDATE,
	EXPLAIN_TARGET,
	EXPLAIN_PRICE_ID,
	EXPLAIN_MIN_QUANTITY,
	EXPLAIN_AMOUNT,
	EXPLAIN_VERDICT,
	EXPLAIN_DETAIL,
	EXPLAIN_COLUMNS
};

typedef struct Explainer
{
	PriceCollector collector; /* first: the resolver knows this only */
	ReturnSetInfo *result;
	const PriceQuestion *question;
	int step;
} Explainer;

static const char *const verdicts[] = {
	[VERDICT_WON] = "won",
	[VERDICT_LIST_PRICE] = "list price",
	[VERDICT_LOST_PRIORITY] = "lower priority",
	[VERDICT_LOST_AMOUNT] = "dearer at the same priority",
	[VERDICT_LOST_ID] = "later code at the same priority and amount",
	[VERDICT_NOT_LOWER] = "not lower",
	[VERDICT_NO_BASE] = "no base price",
	[VERDICT_NEARER_ROW] = "nearer row",
	[VERDICT_LIST_WINDOW] = "list window",
	[VERDICT_WINDOW] = "window",
	[VERDICT_SEGMENT] = "segment",
	[VERDICT_QUANTITY] = "tier not reached",
	[VERDICT_CURRENCY] = "currency",
	[VERDICT_APPLIED] = "applied",
	[VERDICT_NO_CHANGE] = "changes nothing",
	[VERDICT_BEST_OF] = "smaller saving of its group",
	[VERDICT_COUPON] = "coupon missing",
	[VERDICT_USED_UP] = "limit used up",
	[VERDICT_CUSTOMER_LIMIT] = "limit of the customer used up",
	[VERDICT_SUBTOTAL] = "subtotal not reached",
	[VERDICT_ORDER] = "promotion of the order",
	[VERDICT_FLOOR] = "floor",
};

/* Of what takes no part for its status; active now, it was not at the moment asked for. */
static const char *const statuses[] = {
	[STATUS_DRAFT] = "draft",
	[STATUS_APPROVED] = "approved",
	[STATUS_ACTIVE] = "not active",
	[STATUS_RETIRED] = "retired",
};

static const char *const list_kinds[] = {[LIST_BASE] = "base", [LIST_OVERRIDE] = "override", [LIST_SALE] = "sale"};

/* Puts a row into the result. Texts may be NULL, amounts too. */
static void
explain_put(Explainer *explainer, const char *kind, const char *candidate, const char *target, const int64 *price_id,
			const Money *min_quantity, const Money *amount, const char *verdict, const char *detail)
{
	Datum values[EXPLAIN_COLUMNS] = {0};
	bool nulls[EXPLAIN_COLUMNS] = {0};
	int decimals = Max(explainer->question->currency->decimals, 4);

	values[EXPLAIN_STEP] = Int32GetDatum(++explainer->step);
	values[EXPLAIN_KIND] = CStringGetTextDatum(kind);
	values[EXPLAIN_VERDICT] = CStringGetTextDatum(verdict);
	nulls[EXPLAIN_CANDIDATE] = candidate == NULL;
	if (candidate != NULL)
		values[EXPLAIN_CANDIDATE] = CStringGetTextDatum(candidate);
	nulls[EXPLAIN_TARGET] = target == NULL;
	if (target != NULL)
		values[EXPLAIN_TARGET] = CStringGetTextDatum(target);
	nulls[EXPLAIN_PRICE_ID] = price_id == NULL;
	if (price_id != NULL)
		values[EXPLAIN_PRICE_ID] = Int64GetDatum(*price_id);
	nulls[EXPLAIN_MIN_QUANTITY] = min_quantity == NULL;
	if (min_quantity != NULL)
		values[EXPLAIN_MIN_QUANTITY] = DirectFunctionCall1(
			numeric_trim_scale,
			NumericGetDatum(min_quantity->big != NULL ? min_quantity->big
													  : money_to_numeric(*min_quantity, MONEY_DECIMALS)));
	nulls[EXPLAIN_AMOUNT] = amount == NULL;
	if (amount != NULL)
		values[EXPLAIN_AMOUNT] = NumericGetDatum(
			money_to_numeric(money_round(*amount, decimals, explainer->question->rules->rounding), decimals));
	nulls[EXPLAIN_DETAIL] = detail == NULL;
	if (detail != NULL)
		values[EXPLAIN_DETAIL] = CStringGetTextDatum(detail);
	tuplestore_putvalues(explainer->result->setResult, explainer->result->setDesc, values, nulls);
}

/* Returns for people which target a row is for. */
static const char *
target_text(const PriceQuestion *question, const PriceTarget *target)
{
	const char *code = pnstrdup(target->code, target->length);

	if (target == &question->product->target)
		return psprintf("product %s", code);
	for (const Product *above = question->product->parent; above != NULL; above = above->parent)
		if (target == &above->target)
			return psprintf("parent %s", code);
	return target->length == 0 ? "everything" : psprintf("category %s", code);
}

static void
explain_row(PriceCollector *collector, const PriceTarget *target, const PriceRow *row, PriceVerdict verdict,
			const Money *amount)
{
	Explainer *explainer = (Explainer *) collector;
	const PriceList *list = &explainer->question->rules->lists[row->list];
	const char *detail = NULL;

	if (verdict == VERDICT_STATUS && list->status == STATUS_ACTIVE)
		detail = "the list was not active then";
	else if (verdict == VERDICT_CURRENCY)
		detail = psprintf("the list is in %s", list->currency->code);
	else if (verdict == VERDICT_LOST_PRIORITY)
		detail = psprintf("priority %d", list->priority);
	explain_put(explainer, list_kinds[list->kind], list->code, target_text(explainer->question, target), &row->id,
				&row->min_quantity, amount, verdict == VERDICT_STATUS ? statuses[list->status] : verdicts[verdict],
				detail);
}

static void
explain_promotion(PriceCollector *collector, const Promotion *promotion, PriceVerdict verdict, const Promotion *by,
				  const Money *price)
{
	Explainer *explainer = (Explainer *) collector;
	const char *word = verdicts[verdict];
	const char *detail = NULL;

	if (verdict == VERDICT_ENDED || verdict == VERDICT_EXCLUSIVE)
		word = psprintf("excluded by %s", by->code);
	else if (by != NULL)
		detail = psprintf("by %s", by->code);
	else if (verdict == VERDICT_STATUS)
		word = statuses[promotion->status];
	if (verdict == VERDICT_EXCLUSIVE)
		detail = "it is exclusive, and another one has changed the price already";
	else if (verdict == VERDICT_ENDED)
		detail = by->exclusive ? "the other one is exclusive" : "nothing follows the other one";
	else if (verdict == VERDICT_STATUS && promotion->status == STATUS_ACTIVE)
		detail = "the promotion was not active then";
	else if (verdict == VERDICT_CURRENCY)
		detail = psprintf("the promotion is in %s", promotion->currency->code);
	explain_put(explainer, "promotion", promotion->code, NULL, NULL, &promotion->min_quantity,
				verdict == VERDICT_APPLIED ? price : NULL, word, detail);
}

static void
explain_floor(PriceCollector *collector, const Money *floor)
{
	Explainer *explainer = (Explainer *) collector;

	explain_put(explainer, "floor", NULL, NULL, NULL, NULL, floor, verdicts[VERDICT_FLOOR],
				"min_price, or cost and min_margin");
}

/* Explains the answer that the arguments ask for. */
static Datum
explain(FunctionCallInfo fcinfo, PriceAsker asker)
{
	Explainer explainer = {{explain_row, explain_promotion, explain_floor}, (ReturnSetInfo *) fcinfo->resultinfo};
	text *code;
	PriceQuestion question = {0};
	PriceAnswer answer;

	(void) company_get();
	code = price_text_argument(fcinfo, 1, "product");
	question.quantity = price_quantity_argument(fcinfo, 2);
	init_materialized_srf(fcinfo);
	price_ask(fcinfo, asker, 3, &question, &code, 1, &question.product);
	explainer.question = &question;
	price_resolve(&question, &answer, &explainer.collector);
	if (answer.reason != PRICE_FOUND)
		explain_put(&explainer, "answer", NULL, NULL, NULL, NULL, NULL, "no price",
					text_to_cstring(price_reason_text(&question, answer.reason)));
	else
		explain_put(&explainer, "answer", answer.list->code, NULL, NULL, NULL,
					answer.uniform ? &answer.unit_price : NULL, "unit price",
					answer.uniform ? NULL : "its units cost different prices");
	config_caches_release();
	return (Datum) 0;
}

/* explain_quote(customer_id, product, quantity, currency, at, coupons): returns a row for each candidate. */
Datum
omnichannel_explain_quote(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, ASKER_CUSTOMER);
}

/* explain_quote_segments(segments, product, quantity, currency, at, coupons): the same for segments. */
Datum
omnichannel_explain_quote_segments(PG_FUNCTION_ARGS)
{
	return explain(fcinfo, ASKER_SEGMENTS);
}
