/*
 * money.h
 *	  Exact amounts: a fast fixed-point form, and numeric where that is too small.
 */
#ifndef OMNICHANNEL_MONEY_H
#define OMNICHANNEL_MONEY_H

#include "common/int.h"
#include "utils/numeric.h"

/* Decimals of the fast form: a cent discounted twice by percentages of two decimals each still fits. */
#define MONEY_DECIMALS 8
#define MONEY_ONE INT64CONST(100000000)

/*
 * An amount, a quantity or a factor. big is NULL where ticks (units of 10^-8) hold it; otherwise big does, allocated by
 * the operation that made it.
 */
typedef struct Money
{
	int64 ticks;
	Numeric big;
} Money;

typedef enum Rounding
{
	ROUND_HALF_UP, /* half away from zero */
	ROUND_HALF_EVEN,
	ROUND_HALF_DOWN
} Rounding;

#define MONEY_ZERO ((Money){0, NULL})

extern Money money_from_numeric(Numeric value);
extern Numeric money_to_numeric(Money value, int decimals);
extern Rounding money_rounding(const char *name);
extern Money money_round(Money value, int decimals, Rounding rounding);
extern Money money_round_to(Money value, Money step, Rounding rounding);

/* The operations below leave the fast form only where it would not be exact. */
extern Money money_add_big(Money a, Money b);
extern Money money_subtract_big(Money a, Money b);
extern Money money_multiply(Money a, Money b);
extern Money money_divide(Money a, Money b);
extern Money money_divide_round(Money a, Money b, int decimals, Rounding rounding);
extern int money_compare_big(Money a, Money b);

static inline Money
money_add(Money a, Money b)
{
	Money result = {0, NULL};

	if (likely(a.big == NULL && b.big == NULL && !pg_add_s64_overflow(a.ticks, b.ticks, &result.ticks)))
		return result;
	return money_add_big(a, b);
}

static inline Money
money_subtract(Money a, Money b)
{
	Money result = {0, NULL};

	if (likely(a.big == NULL && b.big == NULL && !pg_sub_s64_overflow(a.ticks, b.ticks, &result.ticks)))
		return result;
	return money_subtract_big(a, b);
}

static inline int
money_compare(Money a, Money b)
{
	if (likely(a.big == NULL && b.big == NULL))
		return a.ticks < b.ticks ? -1 : a.ticks > b.ticks;
	return money_compare_big(a, b);
}

/* Returns whether two amounts are the same, told at a glance; those of many digits are not. */
static inline bool
money_same(Money a, Money b)
{
	return a.ticks == b.ticks && a.big == NULL && b.big == NULL;
}

static inline Money
money_least(Money a, Money b)
{
	return money_compare(a, b) <= 0 ? a : b;
}

static inline Money
money_greatest(Money a, Money b)
{
	return money_compare(a, b) >= 0 ? a : b;
}

static inline Money
money_of_int(int value)
{
	return (Money){value * MONEY_ONE, NULL};
}

static inline bool
money_positive(Money a)
{
	return money_compare(a, MONEY_ZERO) > 0;
}

#endif /* OMNICHANNEL_MONEY_H */
