/*
 * apply.c
 *	  What promotions make of the price that the lists give. Pure: reads no table.
 *
 * A line begins as one portion: all its units at one price. A promotion for some of the units splits a portion, so that
 * each unit's price is rounded once, at the end, and the line is the sum of its units to the last cent.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "pricing/pricing.h"

/* A promotion that fits. */
typedef struct Candidate
{
	const Promotion *promotion;
	Money value; /* of the promotion, and its cap, with or without tax as the price is */
	Money cap;
	Money saving;               /* on the line, at the price that the lists give */
	const Promotion *beaten_by; /* of the same best_of group */
} Candidate;

typedef struct Line
{
	Portion *portions;
	int nportions;
	int space;
} Line;

static void
line_add(Line *line, Money quantity, Money price)
{
	if (line->nportions == line->space)
	{
		line->space *= 2;
		line->portions = repalloc(line->portions, line->space * sizeof(Portion));
	}
	line->portions[line->nportions++] = (Portion){quantity, price};
}

/* Returns what one unit costs after the promotion. */
static Money
promoted_price(const Candidate *candidate, Money price)
{
	const Promotion *promotion = candidate->promotion;
	Money saving;

	switch (promotion->kind)
	{
		case PROMOTION_FIXED_PRICE:
			return money_least(price, candidate->value);
		case PROMOTION_AMOUNT:
			saving = candidate->value;
			break;
		default:
			saving = money_multiply(price, candidate->value);
			if (promotion->has_cap)
				saving = money_least(saving, candidate->cap);
			break;
	}
	return money_greatest(money_subtract(price, saving), MONEY_ZERO);
}

/* Returns the largest whole number that is not above the quantity, as an integer; quantities end at 10^12. */
static int64
whole_units(Money quantity)
{
	if (quantity.big != NULL)
	{
		Money whole =
			money_round_to(money_subtract(quantity, (Money){MONEY_ONE / 2, NULL}), money_of_int(1), ROUND_HALF_UP);

		if (whole.big != NULL)
			return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(whole.big)));
		return whole.ticks / MONEY_ONE;
	}
	return quantity.ticks / MONEY_ONE;
}

/* Returns how many units of the line the promotion changes. */
static Money
promoted_units(const Promotion *promotion, Money quantity)
{
	Money units = quantity;

	if (promotion->kind == PROMOTION_BUY_GET)
	{
		int64 whole = whole_units(quantity);
		int64 group = (int64) promotion->buy_quantity + promotion->get_quantity;
		int64 free_units = whole / group * promotion->get_quantity + Max(whole % group - promotion->buy_quantity, 0);

		units = money_multiply((Money){free_units < INT64CONST(10000000000) ? free_units * MONEY_ONE : 0, NULL},
							   money_of_int(1));
		if (free_units >= INT64CONST(10000000000))
			units = money_from_numeric(int64_to_numeric(free_units));
	}
	if (promotion->has_max_units)
		units = money_least(units, promotion->max_units);
	return units;
}

/* Applies the promotion to the dearest units of the line; returns whether a price has changed. */
static bool
line_apply(Line *line, const Candidate *candidate, Money quantity)
{
	Money units = promoted_units(candidate->promotion, quantity);
	int nportions = line->nportions;
	uint64 few_done[2] = {0};
	uint64 *done = nportions <= 128 ? few_done : palloc0(BIT_WORDS(nportions) * sizeof(uint64));
	bool changed = false;

	/* Portions are few: choose the dearest one that is left, again and again. */
	while (money_positive(units))
	{
		int dearest = -1;
		Money price;

		for (int i = 0; i < nportions; i++)
			if (!BIT_TEST(done, i) &&
				(dearest < 0 || money_compare(line->portions[i].price, line->portions[dearest].price) > 0))
				dearest = i;
		if (dearest < 0)
			break;
		BIT_SET(done, dearest);
		price = promoted_price(candidate, line->portions[dearest].price);
		if (money_compare(price, line->portions[dearest].price) == 0)
		{
			units = money_subtract(units, money_least(units, line->portions[dearest].quantity));
			continue;
		}
		changed = true;
		if (money_compare(units, line->portions[dearest].quantity) < 0)
		{
			Money rest = money_subtract(line->portions[dearest].quantity, units);

			line_add(line, rest, line->portions[dearest].price);
			line->portions[dearest].quantity = units;
		}
		line->portions[dearest].price = price;
		units = money_subtract(units, line->portions[dearest].quantity);
	}
	return changed;
}

/* promotions_compare orders promotions by stage, priority from above, exclusive first; equal ones by their saving. */
int
promotions_compare(const Promotion *left, const Promotion *right)
{
	if (left->stage != right->stage)
		return left->stage < right->stage ? -1 : 1;
	if (left->priority != right->priority)
		return left->priority > right->priority ? -1 : 1;
	if (left->exclusive != right->exclusive)
		return left->exclusive ? -1 : 1;
	return 0;
}

/* Orders candidates; those of equal promotions by the larger saving, then by code. */
static int
compare_candidates(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;
	int order = promotions_compare(left->promotion, right->promotion);

	if (order == 0)
		order = money_compare(right->saving, left->saving);
	return order != 0 ? order : left->promotion->number < right->promotion->number ? -1 : 1;
}

/* Lowers *until to a bound of the span that is still to come. */
static void
span_changes(const Span *span, TimestampTz at, TimestampTz *until)
{
	if (span->from > at && span->from < *until)
		*until = span->from;
	if (span->until > at && span->until < *until)
		*until = span->until;
}

/* Returns why a promotion that concerns the product does not fit the question, or VERDICT_APPLIED where it does. */
PriceVerdict
promotion_verdict(const PriceQuestion *question, const Promotion *promotion, Money subtotal, TimestampTz *until)
{
	TimestampTz at = question->at;
	int number = promotion->number;

	if (promotion->active.until <= promotion->active.from)
		return VERDICT_STATUS;
	if (promotion->currency != NULL && promotion->currency != question->currency)
		return VERDICT_CURRENCY;
	if (!BIT_TEST(question->audience->promotions, number))
		return VERDICT_SEGMENT;
	if (promotion->needs_coupon && (question->opened == NULL || !BIT_TEST(question->opened, number)))
		return VERDICT_COUPON;
	if (money_compare(promotion->min_quantity, question->quantity) > 0)
		return VERDICT_QUANTITY;
	if (money_compare(promotion->min_subtotal, subtotal) > 0)
		return VERDICT_SUBTOTAL;
	span_changes(&promotion->active, at, until);
	if (!span_contains(&promotion->active, at) || spans_contain(&promotion->pauses, at, until))
		return VERDICT_STATUS;
	span_changes(&promotion->valid, at, until);
	if (!span_contains(&promotion->valid, at))
		return VERDICT_WINDOW;
	if (spans_contain(&promotion->used_up, at, until))
		return VERDICT_USED_UP;
	if (question->closed != NULL && BIT_TEST(question->rules->customer_limits, number))
	{
		*until = Min(*until, question->closed_until);
		if (BIT_TEST(question->closed, number))
			return VERDICT_CUSTOMER_LIMIT;
	}
	return VERDICT_APPLIED;
}

/* Returns an amount of the product or a promotion with or without tax as the price is reckoned. */
static Money
amount_beside(const PriceQuestion *question, const PriceAnswer *answer, Money amount)
{
	return tax_amount(question->product, amount, answer->amounts_with_tax, answer->reckons_with_tax);
}

/* Returns an amount that was reckoned as the list says it, not rounded. */
static Money
amount_said(const PriceQuestion *question, const PriceAnswer *answer, Money amount)
{
	return tax_amount(question->product, amount, answer->reckons_with_tax, answer->list->tax_inclusive);
}

/* Does the same, rounded once. */
static Money
amount_rounded(const PriceQuestion *question, const PriceAnswer *answer, Money amount)
{
	int decimals = question->currency->decimals;
	Rounding rounding = question->rules->rounding;

	if (likely(answer->reckons_with_tax == answer->list->tax_inclusive))
		return money_round(amount, decimals, rounding);
	return tax_amount_round(question->product, amount, answer->reckons_with_tax, answer->list->tax_inclusive, decimals,
							rounding);
}

/* Does the same for an amount that often is another one, of which it is known. */
static inline Money
amount_rounded_like(const PriceQuestion *question, const PriceAnswer *answer, Money amount, Money other, Money rounded)
{
	return money_same(amount, other) ? rounded : amount_rounded(question, answer, amount);
}

/* Returns what so many units cost, each of them a rounded amount; rounded. */
static Money
line_rounded(const PriceQuestion *question, Money unit, Money quantity)
{
	/* One unit costs what it costs. */
	if (money_same(quantity, money_of_int(1)) && unit.big == NULL)
		return unit;
	return money_round(money_multiply(unit, quantity), question->currency->decimals, question->rules->rounding);
}

/* Returns what the promotion would take off the line on its own. */
static Money
line_saving(const Candidate *candidate, Money price, Money quantity)
{
	Money units = money_least(promoted_units(candidate->promotion, quantity), quantity);

	return money_multiply(money_subtract(price, promoted_price(candidate, price)), units);
}

/* Returns the candidate that a promotion is, its amounts reckoned as the price is, on a line at that price. */
static Candidate
candidate_of(const PriceQuestion *question, const PriceAnswer *answer, const Promotion *promotion, Money price)
{
	Candidate candidate = {promotion, promotion->value, promotion->cap};

	if (promotion->kind == PROMOTION_AMOUNT || promotion->kind == PROMOTION_FIXED_PRICE)
		candidate.value = amount_beside(question, answer, promotion->value);
	else if (promotion->has_cap)
		candidate.cap = amount_beside(question, answer, promotion->cap);
	candidate.saving = line_saving(&candidate, price, question->quantity);
	return candidate;
}

/* Leaves of each best_of group the candidate with the largest saving, by code among equals. */
static void
choose_best(Candidate *candidates, int n)
{
	for (int i = 0; i < n; i++)
		for (int j = 0; candidates[i].promotion->best_of != NULL && j < n; j++)
		{
			int order;

			if (i == j || candidates[j].promotion->best_of == NULL ||
				strcmp(candidates[i].promotion->best_of, candidates[j].promotion->best_of) != 0)
				continue;
			order = money_compare(candidates[j].saving, candidates[i].saving);
			if (order > 0 || (order == 0 && candidates[j].promotion->number < candidates[i].promotion->number))
				candidates[i].beaten_by = candidates[j].promotion;
		}
}

/* Returns the price below which nothing leads: min_price, or cost and margin; none raises the list price. */
static Money
price_floor(const PriceQuestion *question, const PriceAnswer *answer, Money list_price)
{
	const Product *product = question->product;
	Money floor = MONEY_ZERO;

	if (product->has_min_price && product->min_price_currency == question->currency)
		floor = product->min_price;
	if (product->has_cost && product->cost_currency == question->currency && product->has_min_margin)
	{
		Money margin = money_multiply(product->min_margin, (Money){MONEY_ONE / 100, NULL});

		floor = money_greatest(floor, money_multiply(product->cost, money_add(money_of_int(1), margin)));
	}
	return money_least(amount_beside(question, answer, floor), list_price);
}

/* Walks the candidates in their order and notes in the answer which of them changed the price. */
static void
apply_candidates(const PriceQuestion *question, PriceAnswer *answer, Line *line, Candidate *candidates, int n,
				 PriceCollector *collector)
{
	const Promotion *ended_by = NULL;

	answer->promotions = palloc(Max(n, 1) * sizeof(Promotion *));
	for (int i = 0; i < n; i++)
	{
		const Promotion *promotion = candidates[i].promotion;
		const Promotion *by = NULL;
		PriceVerdict verdict = VERDICT_APPLIED;

		if (candidates[i].beaten_by != NULL)
		{
			verdict = VERDICT_BEST_OF;
			by = candidates[i].beaten_by;
		}
		else if (ended_by != NULL)
		{
			verdict = VERDICT_ENDED;
			by = ended_by;
		}
		else if (promotion->exclusive && answer->npromotions > 0)
		{
			verdict = VERDICT_EXCLUSIVE;
			by = answer->promotions[0];
		}
		else if (!line_apply(line, &candidates[i], question->quantity))
			verdict = VERDICT_NO_CHANGE;
		else
		{
			answer->promotions[answer->npromotions++] = promotion;
			if (promotion->exclusive || promotion->stop)
				ended_by = promotion;
		}
		if (unlikely(collector != NULL))
		{
			Money price = amount_said(question, answer, line->portions[0].price);

			collector->promotion(collector, promotion, verdict, by, &price);
		}
	}
	answer->ended = ended_by != NULL;
}

/*
 * promotions_apply fills list_price, unit_price, line_total and promotions of the answer, beginning with the prices
 * that the lists give (not rounded, with tax where answer->reckons_with_tax), and lowers *until to the nearest moment
 * at which a promotion begins or ends.
 */
void
promotions_apply(const PriceQuestion *question, PriceAnswer *answer, Money price, Money list_price, TimestampTz *until,
				 PriceCollector *collector)
{
	const PriceRules *rules = question->rules;
	int decimals = question->currency->decimals;
	Rounding rounding = rules->rounding;
	Money floor = price_floor(question, answer, list_price);
	Money rounded; /* price */
	bool with_tax = question->others != NULL ? question->basket_with_tax : answer->amounts_with_tax;
	Money subtotal;
	Candidate *candidates = NULL;
	int ncandidates = 0;
	Portion one;
	Line line = {&one, 0, 1};
	Money total = MONEY_ZERO;

	rounded = amount_rounded(question, answer, price);
	answer->list_price = amount_rounded_like(question, answer, list_price, price, rounded);
	answer->floor = amount_rounded_like(question, answer, floor, MONEY_ZERO, MONEY_ZERO);
	subtotal = answer->before_promotions = line_rounded(question, rounded, question->quantity);
	subtotal = tax_amount_round(question->product, subtotal, answer->list->tax_inclusive, with_tax, decimals, rounding);
	if (question->others != NULL)
		subtotal = money_add(subtotal, *question->others);
	for (int i = 0; i < question->product->npromotions; i++)
	{
		int number = question->product->promotions[i];
		const Promotion *promotion = &rules->promotions[number];
		PriceVerdict verdict;

		if (collector == NULL && !BIT_TEST(question->audience->promotions, number))
			continue;
		if (promotion->kind == PROMOTION_ORDER_PERCENT || promotion->kind == PROMOTION_ORDER_AMOUNT)
			verdict = VERDICT_ORDER;
		else
			verdict = promotion_verdict(question, promotion, subtotal, until);
		if (verdict != VERDICT_APPLIED)
		{
			if (unlikely(collector != NULL))
				collector->promotion(collector, promotion, verdict, NULL, NULL);
			continue;
		}
		if (candidates == NULL)
			candidates = palloc((question->product->npromotions - i) * sizeof(Candidate));
		candidates[ncandidates++] = candidate_of(question, answer, promotion, price);
	}

	if (ncandidates > 0)
	{
		line.space = ncandidates + 1;
		line.portions = palloc(line.space * sizeof(Portion));
	}
	line_add(&line, question->quantity, price);
	if (ncandidates > 0)
	{
		if (ncandidates > 1)
			qsort(candidates, ncandidates, sizeof(Candidate), compare_candidates);
		choose_best(candidates, ncandidates);
		apply_candidates(question, answer, &line, candidates, ncandidates, collector);
	}

	answer->uniform = true;
	for (int i = 0; i < line.nportions; i++)
	{
		Money unit = line.portions[i].price;

		if (money_compare(unit, floor) < 0)
		{
			unit = floor;
			if (unlikely(collector != NULL))
			{
				Money said = amount_said(question, answer, floor);

				collector->floor(collector, &said);
			}
		}
		unit = amount_rounded_like(question, answer, unit, price, rounded);
		if (i == 0)
			answer->unit_price = unit;
		else if (money_compare(unit, answer->unit_price) != 0)
			answer->uniform = false;
		if (line.nportions > 1)
			total = money_add(total, money_multiply(unit, line.portions[i].quantity));
	}
	answer->line_total = line.nportions > 1 ? money_round(total, decimals, rounding)
											: line_rounded(question, answer->unit_price, question->quantity);
}
