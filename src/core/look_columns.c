/*
 * look_columns.c
 *	  Where the columns lie in rows that are found on leaves; see look_columns.h.
 */
#include "postgres.h"

#include "core/look_columns.h"

/* Forgets where columns lie. */
static void
forget_places(LookUp *look)
{
	LookPlaces *places = look->places;

	look->places = NULL;
	if (places == NULL)
		return;
	for (int i = 0; i < LOOK_SHAPES; i++)
		if (places->shapes[i] != NULL)
			pfree(places->shapes[i]);
	pfree(places);
}

/*
 * look_places_find notes where the columns lie in rows described so; numbers says which column of the table each
 * attribute is, NULL that it is that.
 */
void
look_places_find(LookUp *look, TupleDesc desc, const AttrNumber *numbers)
{
	forget_places(look);
	look->places =
		MemoryContextAllocZero(CacheMemoryContext, offsetof(LookPlaces, all) + Max(desc->natts, 1) * sizeof(LookPlace));
	look->nplaces = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		LookPlace *place = &look->places->all[i];

		place->length = attribute->attlen;
		place->mask = att_align_nominal(1, attribute->attalign) - 1;
		place->by_value = attribute->attbyval;
		place->how = attribute->attlen == -1 ? LOOK_VARYING
					 : attribute->attbyval && attribute->attlen == sizeof(Datum) && place->mask == sizeof(Datum) - 1
						 ? LOOK_WORD
						 : LOOK_OTHERWISE;
		place->column = -1;
		for (int j = 0; j < look->ncolumns; j++)
			if (look->attributes[j] == (numbers == NULL ? i + 1 : numbers[i]))
			{
				place->column = (int8) j;
				look->nplaces = i + 1;
			}
	}
	if (look->nplaces <= LOOK_ATTRIBUTES)
		look->places->attributes =
			look->nplaces == LOOK_ATTRIBUTES ? PG_UINT64_MAX : (UINT64CONST(1) << look->nplaces) - 1;
}

/* look_shape_make makes the shape of rows with these attributes, and keeps it in place of another one. */
const LookShape *
look_shape_make(const LookUp *look, LookShape **kept, uint64 present)
{
	LookShape *shape = *kept;
	int wanted = 0;

	if (shape == NULL)
		shape = *kept = MemoryContextAlloc(CacheMemoryContext,
										   offsetof(LookShape, places) + Max(look->nplaces, 1) * sizeof(LookPlace));
	shape->present = present;
	shape->n = shape->nnulls = shape->passed = 0;
	for (int i = 0; i < look->nplaces; i++)
	{
		const LookPlace *place = &look->places->all[i];

		if ((present >> i & 1) != 0 && shape->n == 0 && place->column < 0 && place->how == LOOK_WORD)
			shape->passed += sizeof(Datum);
		else if ((present >> i & 1) != 0)
		{
			shape->places[shape->n++] = *place;
			if (place->column >= 0)
				wanted = shape->n;
		}
		else if (place->column >= 0)
			shape->nulls[shape->nnulls++] = place->column;
	}
	shape->n = wanted;
	shape->varying = shape->nnulls == 0 && shape->n == look->ncolumns;
	for (int i = 0; i < shape->n; i++)
		shape->varying = shape->varying && shape->places[i].how == LOOK_VARYING && shape->places[i].column == i;
	return shape;
}

/*
 * look_take_other sets the column of an attribute of any kind that is not NULL, if there is one; returns the place
 * behind it.
 */
const char *
look_take_other(const LookPlace *place, const char *data, Datum *values, bool *nulls)
{
	int length = place->length;

	/* What stands before a long header is zero; one of those that are short is not. */
	if (length != -1 || *data == '\0')
		data = aligned(data, place->mask);
	if (place->column >= 0)
	{
		values[place->column] = fetch_att(data, place->by_value, length);
		nulls[place->column] = false;
	}
	if (length == -1)
		return data + VARSIZE_ANY(data);
	return data + (length >= 0 ? length : (int) strlen(data) + 1);
}
