/*
 * money.c
 *	  Exact amounts: a fast fixed-point form, and numeric where that is too small.
 *
 * A quote makes a dozen additions and multiplications; as numeric each costs an allocation and a hundred nanoseconds.
 * Nearly all amounts fit into 64 bits at eight decimals, and an operation whose exact result does not is done in
 * numeric instead, so that no rounding happens but the one that is asked for. Between the two forms lies numeric's
 * form on disk, read and written here directly: pg_upgrade keeps it, so it is the same in all versions.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/builtins.h"

#include "omnichannel.h"
#include "pricing/money.h"

/* numeric on disk: a header, then digits of base 10,000, the first worth 10,000^weight */
#define NUMERIC_SIGN_MASK 0xC000
#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_SHORT 0x8000
#define NUMERIC_SPECIAL 0xC000
#define NUMERIC_SHORT_NEGATIVE 0x2000
#define NUMERIC_SHORT_DSCALE_SHIFT 7
#define NUMERIC_SHORT_WEIGHT_SIGN 0x0040
#define NUMERIC_SHORT_WEIGHT_MASK 0x003F
#define NUMERIC_BASE 10000
#define FRACTION_DIGITS (MONEY_DECIMALS / 4)

/* Of numbers whose first digit is worth no more than NUMERIC_BASE to this power the fast form holds any. */
#define SMALL_WEIGHT 1

/* What a last digit is worth in ticks, from that of the last decimal on; behind the first one there may be none. */
static const int64 digit_worths[] = {1, 10000, 100000000, 1000000000000, 0};

StaticAssertDecl(lengthof(digit_worths) == FRACTION_DIGITS + SMALL_WEIGHT + 2, "what each digit is worth");

static const int64 powers_of_ten[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

StaticAssertDecl(lengthof(powers_of_ten) == MONEY_DECIMALS + 1, "a power of ten for each decimal");

/* Returns the amount of any numeric; the fast form where it is exact. */
static pg_noinline Money
money_from_any(Numeric value)
{
	Money result = {0, NULL};
	const char *data = VARDATA_ANY(value);
	int size = VARSIZE_ANY_EXHDR(value);
	uint16 header;
	int16 weight;
	bool negative;
	int ndigits;
	int place;

	memcpy(&header, data, sizeof(header));
	data += sizeof(header);
	size -= sizeof(header);
	switch (header & NUMERIC_SIGN_MASK)
	{
		case NUMERIC_SPECIAL:
			result.big = value;
			return result;
		case NUMERIC_SHORT:
			negative = (header & NUMERIC_SHORT_NEGATIVE) != 0;
			weight = (header & NUMERIC_SHORT_WEIGHT_SIGN ? ~NUMERIC_SHORT_WEIGHT_MASK : 0) |
					 (header & NUMERIC_SHORT_WEIGHT_MASK);
			break;
		default:
			negative = (header & NUMERIC_SIGN_MASK) == NUMERIC_NEGATIVE;
			memcpy(&weight, data, sizeof(weight));
			data += sizeof(weight);
			size -= sizeof(weight);
			break;
	}

	ndigits = size / (int) sizeof(int16);
	if (ndigits == 0)
		return result;
	if (weight - (ndigits - 1) < -FRACTION_DIGITS)
	{
		result.big = value;
		return result;
	}
	/* Down to the last decimal of the fast form, with zeros for the digits that are not stored. */
	for (place = weight; place >= -FRACTION_DIGITS; place--)
	{
		int16 digit = 0;

		if (weight - place < ndigits)
			memcpy(&digit, data + (weight - place) * sizeof(int16), sizeof(int16));
		if (pg_mul_s64_overflow(result.ticks, NUMERIC_BASE, &result.ticks) ||
			pg_add_s64_overflow(result.ticks, digit, &result.ticks))
		{
			result.big = value;
			return result;
		}
	}
	if (negative)
		result.ticks = -result.ticks;
	return result;
}

/*
 * money_from_numeric returns the amount; the fast form where it is exact. value must live as long as the result.
 *
 * Each price that is read has two of them, which mostly are zero, or have one digit or two before the point and as many
 * behind it.
 */
Money
money_from_numeric(Numeric value)
{
	const char *data = VARDATA_ANY(value);
	const char *digit = data + sizeof(uint16);
	const char *end = data + VARSIZE_ANY_EXHDR(value);
	uint16 header;
	int weight;
	int last; /* the last digit is worth NUMERIC_BASE to this power */
	int64 ticks = 0;

	memcpy(&header, data, sizeof(header));
	weight = (header & NUMERIC_SHORT_WEIGHT_MASK) - (header & NUMERIC_SHORT_WEIGHT_SIGN);
	last = weight + 1 - (int) ((end - digit) / sizeof(int16));
	if (unlikely((header & (NUMERIC_SIGN_MASK | NUMERIC_SHORT_NEGATIVE)) != NUMERIC_SHORT || weight > SMALL_WEIGHT ||
				 last < -FRACTION_DIGITS))
		return money_from_any(value);
	for (; digit < end; digit += sizeof(int16))
	{
		int16 next;

		memcpy(&next, digit, sizeof(int16));
		ticks = ticks * NUMERIC_BASE + next;
	}
	return (Money){ticks * digit_worths[last + FRACTION_DIGITS], NULL};
}

/* Does what money_to_numeric() does, of any amount. */
static pg_noinline Numeric
any_to_numeric(Money value, int decimals)
{
	uint64 size = value.ticks < 0 ? -(uint64) value.ticks : (uint64) value.ticks;
	uint64 whole = size / MONEY_ONE;
	uint32 rest = (uint32) (size % MONEY_ONE);
	/* Five hold 64 bits. */
	uint16 digits[] = {whole / NUMERIC_BASE / NUMERIC_BASE, whole / NUMERIC_BASE % NUMERIC_BASE, whole % NUMERIC_BASE,
					   rest / NUMERIC_BASE, rest % NUMERIC_BASE};
	int first = 0;
	int end = lengthof(digits);
	int weight;
	uint16 header;
	Size bytes;
	Numeric result;

	if (value.big != NULL)
		return DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(value.big), Int32GetDatum(decimals)));

	while (first < end && digits[first] == 0)
		first++;
	while (end > first && digits[end - 1] == 0)
		end--;
	weight = first == end ? 0 : (int) lengthof(digits) - FRACTION_DIGITS - 1 - first;

	header = NUMERIC_SHORT | (value.ticks < 0 ? NUMERIC_SHORT_NEGATIVE : 0) |
			 (uint16) (decimals << NUMERIC_SHORT_DSCALE_SHIFT) | (weight < 0 ? NUMERIC_SHORT_WEIGHT_SIGN : 0) |
			 (weight & NUMERIC_SHORT_WEIGHT_MASK);
	bytes = VARHDRSZ + sizeof(header) + (end - first) * sizeof(uint16);
	result = palloc(bytes);
	SET_VARSIZE(result, bytes);
	memcpy((char *) result + VARHDRSZ, &header, sizeof(header));
	for (int i = first; i < end; i++)
		memcpy((char *) result + VARHDRSZ + sizeof(header) + (i - first) * sizeof(uint16), &digits[i], sizeof(uint16));
	return result;
}

/*
 * money_to_numeric returns the amount with this many decimals, which it must not exceed, as a new numeric.
 *
 * An answer has four of them, which mostly have one digit or two before the point and at most one behind it.
 */
Numeric
money_to_numeric(Money value, int decimals)
{
	uint64 whole = (uint64) value.ticks / MONEY_ONE;
	uint32 rest = (uint32) ((uint64) value.ticks % MONEY_ONE);
	uint16 high = whole / NUMERIC_BASE;
	uint16 low = whole % NUMERIC_BASE;
	uint16 fraction = rest / NUMERIC_BASE;
	int ndigits = (high != 0) + 1 + (fraction != 0);
	char *result;
	uint16 header;

	if (unlikely(value.big != NULL || whole == 0 || whole >= NUMERIC_BASE * NUMERIC_BASE || rest % NUMERIC_BASE != 0 ||
				 (low == 0 && fraction == 0)))
		return any_to_numeric(value, decimals);
	header = NUMERIC_SHORT | (uint16) (decimals << NUMERIC_SHORT_DSCALE_SHIFT) | (high != 0);
	result = palloc(VARHDRSZ + sizeof(header) + 3 * sizeof(uint16));
	SET_VARSIZE(result, VARHDRSZ + sizeof(header) + ndigits * sizeof(uint16));
	memcpy(result + VARHDRSZ, &header, sizeof(header));
	if (high != 0)
		memcpy(result + VARHDRSZ + sizeof(header), &high, sizeof(high));
	memcpy(result + VARHDRSZ + sizeof(header) + (high != 0) * sizeof(high), &low, sizeof(low));
	memcpy(result + VARHDRSZ + sizeof(header) + ((high != 0) + 1) * sizeof(high), &fraction, sizeof(fraction));
	return (Numeric) result;
}

/* Returns the amount as numeric, whatever its form. */
static Datum
money_datum(Money value)
{
	return value.big != NULL ? NumericGetDatum(value.big) : NumericGetDatum(money_to_numeric(value, MONEY_DECIMALS));
}

/* Returns what a function of two numerics makes of them, in the fast form where that is exact. */
static Money
money_call(PGFunction function, Money a, Money b)
{
	return money_from_numeric(DatumGetNumeric(DirectFunctionCall2(function, money_datum(a), money_datum(b))));
}

Money
money_add_big(Money a, Money b)
{
	return money_call(numeric_add, a, b);
}

Money
money_subtract_big(Money a, Money b)
{
	return money_call(numeric_sub, a, b);
}

int
money_compare_big(Money a, Money b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, money_datum(a), money_datum(b)));
}

/* Does what money_multiply() does, of any amounts. */
static pg_noinline Money
money_multiply_any(Money a, Money b)
{
#ifdef HAVE_INT128
	if (likely(a.big == NULL && b.big == NULL))
	{
		int128 product = (int128) a.ticks * b.ticks;
		int64 low;

		/* Most products fit 64 bits, whose division is the cheaper one. */
		if (product == (int64) product)
		{
			low = (int64) product;
			if (low % MONEY_ONE == 0)
				return (Money){low / MONEY_ONE, NULL};
		}
		else
		{
			int128 quotient = product / MONEY_ONE;

			if (quotient == (int64) quotient && quotient * MONEY_ONE == product)
				return (Money){(int64) quotient, NULL};
		}
	}
#endif
	return money_call(numeric_mul, a, b);
}

/* Returns the exact product. Mostly somebody asks for one unit. */
Money
money_multiply(Money a, Money b)
{
	if (b.ticks == MONEY_ONE && b.big == NULL)
		return a;
	return money_multiply_any(a, b);
}

/* Returns the quotient to numeric's sixteen significant digits or more; b is not zero. */
Money
money_divide(Money a, Money b)
{
	return money_call(numeric_div, a, b);
}

/* Returns the rounding mode that company.rounding names. */
Rounding
money_rounding(const char *name)
{
	if (strcmp(name, "half_even") == 0)
		return ROUND_HALF_EVEN;
	return strcmp(name, "half_down") == 0 ? ROUND_HALF_DOWN : ROUND_HALF_UP;
}

/* Returns the amount rounded to a numeric that holds it not exactly. */
static Money
money_round_big(Money value, int decimals, Rounding rounding)
{
	Datum exact = money_datum(value);
	Datum places = Int32GetDatum(decimals);
	Datum away = DirectFunctionCall2(numeric_round, exact, places);
	Datum down = DirectFunctionCall2(numeric_trunc, exact, places);

	if (rounding != ROUND_HALF_UP)
	{
		/* A tie lies as far from what is nearer to zero as from what is farther. */
		Datum above = DirectFunctionCall2(numeric_sub, away, exact);
		Datum below = DirectFunctionCall2(numeric_sub, exact, down);

		if (DatumGetBool(DirectFunctionCall2(numeric_eq, above, below)))
		{
			bool odd = false;

			if (rounding == ROUND_HALF_EVEN)
			{
				Datum scale = DirectFunctionCall1(int8_numeric, Int64GetDatum(powers_of_ten[decimals]));
				Datum units = DirectFunctionCall2(numeric_mul, down, scale);
				Datum two = DirectFunctionCall1(int8_numeric, Int64GetDatum(2));
				Datum rest = DirectFunctionCall2(numeric_mod, units, two);

				odd = money_compare(money_from_numeric(DatumGetNumeric(rest)), MONEY_ZERO) != 0;
			}
			if (!odd)
				return money_from_numeric(DatumGetNumeric(down));
		}
	}
	return money_from_numeric(DatumGetNumeric(away));
}

/* Returns ticks rounded to a multiple of step; sets *overflow where there is none. */
static int64
ticks_round(int64 ticks, int64 step, Rounding rounding, bool *overflow)
{
	int64 rest = ticks % step;
	int64 down = ticks - rest;
	int64 size = rest < 0 ? -rest : rest;
	int64 gap = step - size;
	bool away = size > gap;

	*overflow = false;
	if (size == gap)
		away = rounding == ROUND_HALF_UP || (rounding == ROUND_HALF_EVEN && (down / step) % 2 != 0);
	if (away)
		*overflow = pg_add_s64_overflow(down, ticks < 0 ? -step : step, &down);
	return down;
}

/* Does what money_round() does, of an amount that has more decimals. */
static pg_noinline Money
money_round_off(Money value, int decimals, Rounding rounding)
{
	if (likely(value.big == NULL))
	{
		bool overflow;
		Money result = {ticks_round(value.ticks, powers_of_ten[MONEY_DECIMALS - decimals], rounding, &overflow), NULL};

		if (likely(!overflow))
			return result;
	}
	return money_round_big(value, decimals, rounding);
}

/* Returns the amount rounded to so many decimals, at most MONEY_DECIMALS. Most have no more. */
Money
money_round(Money value, int decimals, Rounding rounding)
{
	if (likely(value.big == NULL && value.ticks % powers_of_ten[MONEY_DECIMALS - decimals] == 0))
		return value;
	return money_round_off(value, decimals, rounding);
}

/* Returns the amount rounded to a multiple of step, which is above zero. */
Money
money_round_to(Money value, Money step, Rounding rounding)
{
	if (likely(value.big == NULL && step.big == NULL))
	{
		bool overflow;
		Money result = {ticks_round(value.ticks, step.ticks, rounding, &overflow), NULL};

		if (likely(!overflow))
			return result;
	}
	return money_multiply(money_divide_round(value, step, 0, rounding), step);
}

/* Returns the quotient rounded by what is left of a division without a rest, as a quotient can have no end. */
static Money
money_divide_round_big(Money a, Money b, int decimals, Rounding rounding)
{
	Datum divisor = DirectFunctionCall1(numeric_abs, money_datum(b));
	Datum scale = DirectFunctionCall1(int8_numeric, Int64GetDatum(powers_of_ten[decimals]));
	Datum dividend = DirectFunctionCall2(numeric_mul, DirectFunctionCall1(numeric_abs, money_datum(a)), scale);
	Datum units = DirectFunctionCall2(numeric_div_trunc, dividend, divisor);
	Datum rest = DirectFunctionCall2(numeric_sub, dividend, DirectFunctionCall2(numeric_mul, units, divisor));
	Datum two = DirectFunctionCall1(int8_numeric, Int64GetDatum(2));
	Datum one = DirectFunctionCall1(int8_numeric, Int64GetDatum(1));
	int half = DatumGetInt32(DirectFunctionCall2(numeric_cmp, DirectFunctionCall2(numeric_mul, rest, two), divisor));
	bool away = half > 0 || (half == 0 && rounding == ROUND_HALF_UP);
	Money quotient;

	if (half == 0 && rounding == ROUND_HALF_EVEN)
	{
		Datum odd = DirectFunctionCall2(numeric_mod, units, two);

		away = money_positive(money_from_numeric(DatumGetNumeric(odd)));
	}
	if (away)
		units = DirectFunctionCall2(numeric_add, units, one);
	quotient = money_multiply(money_from_numeric(DatumGetNumeric(units)),
							  (Money){powers_of_ten[MONEY_DECIMALS - decimals], NULL});
	if ((money_compare(a, MONEY_ZERO) < 0) != (money_compare(b, MONEY_ZERO) < 0))
		quotient = money_subtract(MONEY_ZERO, quotient);
	return quotient;
}

/* Returns the quotient rounded to so many decimals, at most MONEY_DECIMALS; b is not zero. */
Money
money_divide_round(Money a, Money b, int decimals, Rounding rounding)
{
#ifdef HAVE_INT128
	if (likely(a.big == NULL && b.big == NULL))
	{
		int64 step = powers_of_ten[MONEY_DECIMALS - decimals];
		bool negative = (a.ticks < 0) != (b.ticks < 0);
		uint128 dividend = (uint128) (a.ticks < 0 ? -(uint64) a.ticks : (uint64) a.ticks) * powers_of_ten[decimals];
		uint64 divisor = b.ticks < 0 ? -(uint64) b.ticks : (uint64) b.ticks;
		/* Most dividends fit 64 bits, whose division is the cheaper one. */
		bool small = dividend <= PG_UINT64_MAX;
		uint128 quotient = small ? (uint64) dividend / divisor : dividend / divisor;
		uint64 rest = small ? (uint64) dividend % divisor : (uint64) (dividend % divisor);
		uint64 gap = divisor - rest;

		if (rest > gap ||
			(rest == gap && (rounding == ROUND_HALF_UP || (rounding == ROUND_HALF_EVEN && quotient % 2 != 0))))
			quotient++;
		if (quotient <= (uint128) (PG_INT64_MAX / step))
			return (Money){(int64) quotient * step * (negative ? -1 : 1), NULL};
	}
#endif
	return money_divide_round_big(a, b, decimals, rounding);
}
