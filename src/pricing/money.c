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

static const int64 powers_of_ten[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};

StaticAssertDecl(lengthof(powers_of_ten) == MONEY_DECIMALS + 1, "a power of ten for each decimal");

/* Returns the amount; the fast form where it is exact. value must live as long as the result. */
Money
money_from_numeric(Numeric value)
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
	if (likely(weight <= SMALL_WEIGHT))
	{
		/* No digit can be too many. */
		const char *end = data + ndigits * sizeof(int16);

		for (place = weight; data < end; place--, data += sizeof(int16))
		{
			int16 digit;

			memcpy(&digit, data, sizeof(int16));
			result.ticks = result.ticks * NUMERIC_BASE + digit;
		}
		for (; place >= -FRACTION_DIGITS; place--)
			result.ticks *= NUMERIC_BASE;
		if (negative)
			result.ticks = -result.ticks;
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

/* Returns the amount with this many decimals, which it must not exceed, as a new numeric. */
Numeric
money_to_numeric(Money value, int decimals)
{
	uint16 digits[8];
	int ndigits = 0;
	int first = 0;
	int weight;
	uint64 rest;
	uint16 header;
	Size size;
	Numeric result;

	if (value.big != NULL)
		return DatumGetNumeric(DirectFunctionCall2(numeric_round, NumericGetDatum(value.big), Int32GetDatum(decimals)));

	/* The lowest digit first; five hold 64 bits. */
	for (rest = value.ticks < 0 ? -(uint64) value.ticks : (uint64) value.ticks; rest != 0; rest /= NUMERIC_BASE)
		digits[ndigits++] = rest % NUMERIC_BASE;
	weight = ndigits - 1 - FRACTION_DIGITS;
	while (first < ndigits && digits[first] == 0)
		first++;
	if (first == ndigits)
		weight = 0;

	header = NUMERIC_SHORT | (value.ticks < 0 ? NUMERIC_SHORT_NEGATIVE : 0) |
			 (uint16) (decimals << NUMERIC_SHORT_DSCALE_SHIFT) | (weight < 0 ? NUMERIC_SHORT_WEIGHT_SIGN : 0) |
			 (weight & NUMERIC_SHORT_WEIGHT_MASK);
	size = VARHDRSZ + sizeof(header) + (ndigits - first) * sizeof(uint16);
	result = palloc(size);
	SET_VARSIZE(result, size);
	memcpy((char *) result + VARHDRSZ, &header, sizeof(header));
	for (int i = ndigits - 1; i >= first; i--)
		memcpy((char *) result + VARHDRSZ + sizeof(header) + (ndigits - 1 - i) * sizeof(uint16), &digits[i],
			   sizeof(uint16));
	return result;
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

/* Returns the exact product. */
Money
money_multiply(Money a, Money b)
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

/* Returns the amount rounded to so many decimals, at most MONEY_DECIMALS. */
Money
money_round(Money value, int decimals, Rounding rounding)
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
