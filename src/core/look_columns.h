/*
 * look_columns.h
 *	  The columns of rows that are found on leaves, taken from where they lie.
 *
 * A slot takes all columns up to the last that is wanted, each by what a description of a hundred bytes says of it. Of
 * rows that are read by the hundred, as the prices of a page are, that takes as long as to find them. Here only those
 * are gone through that a row has: which they are is found out once for all rows that lack the same ones, and of two
 * kinds of columns, which nearly all are, they are taken without a call.
 */
#ifndef OMNICHANNEL_LOOK_COLUMNS_H
#define OMNICHANNEL_LOOK_COLUMNS_H

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/tupmacs.h"

#include "core/look.h"

/* How an attribute that is not NULL lies behind those before it. */
typedef enum LookHow
{
	LOOK_VARYING, /* its header mostly is short, so that it is not aligned */
	LOOK_WORD,    /* by value, and aligned by its size */
	LOOK_OTHERWISE
} LookHow;

typedef struct LookPlace
{
	int16 length; /* as attlen */
	uint8 mask;   /* of an address: zero where it is aligned */
	bool by_value;
	uint8 how;   /* a LookHow */
	int8 column; /* of the look-up, or -1 */
} LookPlace;

/* Rows in which the same attributes are NULL. */
typedef struct LookShape
{
	uint64 present; /* a bit for each attribute that is not NULL */
	int nnulls;
	int8 nulls[TABLE_COLUMNS]; /* columns of those that are */
	int passed;                /* bytes before the first place */
	bool varying;              /* all attributes that are wanted are varying, in the order of the columns */
	int n;
	LookPlace places[FLEXIBLE_ARRAY_MEMBER]; /* of those that are not, as far as the last one that is wanted, but for
												words in front that are not */
} LookShape;

/* So many of them are kept, each at the place that its bits tell. */
#define LOOK_SHAPES 16

/* Attributes whose NULLs fit into a word. */
#define LOOK_ATTRIBUTES 64

struct LookPlaces
{
	uint64 attributes; /* a bit for each up to the last that is wanted */
	LookShape *shapes[LOOK_SHAPES];
	LookPlace all[FLEXIBLE_ARRAY_MEMBER];
};

extern const LookShape *look_shape_make(const LookUp *look, LookShape **kept, uint64 present);
extern const char *look_take_other(const LookPlace *place, const char *data, Datum *values, bool *nulls);

/* Returns the place from which on something may lie that is to be aligned so. */
static inline const char *
aligned(const char *data, uint8 mask)
{
	return (const char *) (((uintptr_t) data + mask) & ~(uintptr_t) mask);
}

/* Sets the column of an attribute that is not NULL, if there is one; returns the place behind it. */
static inline const char *
take_attribute(const LookPlace *place, const char *data, Datum *values, bool *nulls)
{
	const char *end;
	Datum value;

	if (place->how == LOOK_VARYING && likely(VARATT_IS_1B(data) && !VARATT_IS_1B_E(data)))
	{
		value = PointerGetDatum(data);
		end = data + VARSIZE_1B(data);
	}
	else if (place->how == LOOK_WORD)
	{
		data = aligned(data, sizeof(Datum) - 1);
		value = *(const Datum *) data;
		end = data + sizeof(Datum);
	}
	else
		return look_take_other(place, data, values, nulls);
	if (place->column >= 0)
	{
		values[place->column] = value;
		nulls[place->column] = false;
	}
	return end;
}

/* Returns the shape of rows with these attributes; most are as one before. */
static inline const LookShape *
look_shape(const LookUp *look, uint64 present)
{
	LookShape **kept = &look->places->shapes[present * UINT64CONST(0x9E3779B97F4A7C15) >> 60];

	return likely(*kept != NULL && (*kept)->present == present) ? *kept : look_shape_make(look, kept, present);
}

/* Sets the columns of a row of this shape from its data, which are aligned. */
static inline void
take_attributes(const LookShape *shape, const char *data, Datum *values, bool *nulls)
{
	const LookPlace *end = shape->places + shape->n;

	data += shape->passed;
	for (const LookPlace *place = shape->places; place < end; place++)
		data = take_attribute(place, data, values, nulls);
	for (const int8 *column = shape->nulls, *last = column + shape->nnulls; column < last; column++)
		nulls[*column] = true;
}

/*
 * Does the same of a shape of varying attributes, of which none is NULL; nulls are as they should be. Fewer things are
 * to be kept in mind meanwhile, which takes half as long.
 */
static inline void
take_varying(const LookShape *shape, const char *data, Datum *values, bool *nulls)
{
	const Datum *end = values + shape->n;

	data += shape->passed;
	for (Datum *value = values; value < end; value++)
		if (likely(VARATT_IS_1B(data) && !VARATT_IS_1B_E(data)))
		{
			*value = PointerGetDatum(data);
			data += VARSIZE_1B(data);
		}
		else
			data = look_take_other(&shape->places[value - values], data, values, nulls);
}

/* Returns the attributes of a row of the index that are not NULL. */
static inline uint64
present_in_index(const LookUp *look, IndexTuple row)
{
	const bits8 *null = (const bits8 *) row + sizeof(IndexTupleData);

	/* There are four bytes of them, as an index has at most as many columns. */
	StaticAssertStmt(INDEX_MAX_KEYS == 32, "as many bits as an index has columns");
	if (!IndexTupleHasNulls(row))
		return look->places->attributes;
	return look->places->attributes &
		   ((uint64) null[0] | (uint64) null[1] << 8 | (uint64) null[2] << 16 | (uint64) null[3] << 24);
}

/*
 * Sets the columns from a row of the table; returns false where it lacks some, having been written before they were
 * added, and where some stand behind many others.
 */
static inline bool
look_columns_of_row(const LookUp *look, HeapTupleHeader row, Datum *values, bool *nulls)
{
	uint64 present = look->places->attributes;

	if (unlikely(HeapTupleHeaderGetNatts(row) < look->nplaces || look->nplaces > LOOK_ATTRIBUTES))
		return false;
	if (row->t_infomask & HEAP_HASNULL)
	{
		uint64 set = 0;

		for (int i = 0; i < look->nplaces; i += BITS_PER_BYTE)
			set |= (uint64) row->t_bits[i / BITS_PER_BYTE] << i;
		present &= set;
	}
	take_attributes(look_shape(look, present), (const char *) row + row->t_hoff, values, nulls);
	return true;
}

#endif /* OMNICHANNEL_LOOK_COLUMNS_H */
