/*
 * span_list.c
 *	  Sorted lists of spans that lie apart: the set algebra of a timeline.
 */
#include "calendar/timeline_impl.h"

#include <stdlib.h>
#include <string.h>

/*
 * span_list_add appends a span, joining it to the last one where they touch; an empty one is left out.
 *
 * The list is sorted as long as spans come by their start; span_list_tidy() mends it otherwise.
 */
void
span_list_add(const TimelineHost *host, SpanList *list, int64_t start, int64_t end)
{
	TimeSpan *last = list->count > 0 ? &list->spans[list->count - 1] : NULL;

	if (start >= end)
		return;
	if (last != NULL && start >= last->start && start <= last->end)
	{
		if (end > last->end)
			last->end = end;
		return;
	}
	if (list->count == list->capacity)
	{
		int capacity = list->capacity == 0 ? 64 : list->capacity * 2;
		TimeSpan *spans = host->allocate(host->context, (size_t) capacity * sizeof(TimeSpan));
		TimeSpan *outgrown = list->spans;

		if (list->count > 0)
			memcpy(spans, outgrown, (size_t) list->count * sizeof(TimeSpan));
		list->spans = spans;
		list->capacity = capacity;
		if (outgrown != NULL)
			host->release(outgrown);
	}
	list->spans[list->count].start = start;
	list->spans[list->count].end = end;
	list->count++;
}

static int
compare_starts(const void *a, const void *b)
{
	const TimeSpan *left = a;
	const TimeSpan *right = b;

	return (left->start > right->start) - (left->start < right->start);
}

/* Sorts the spans and joins those that touch. */
void
span_list_tidy(SpanList *list)
{
	int kept = 0;
	bool tidy = true;

	for (int i = 1; tidy && i < list->count; i++)
		tidy = list->spans[i].start > list->spans[i - 1].end;
	if (tidy)
		return;

	qsort(list->spans, (size_t) list->count, sizeof(TimeSpan), compare_starts);
	for (int i = 1; i < list->count; i++)
	{
		if (list->spans[i].start <= list->spans[kept].end)
		{
			if (list->spans[i].end > list->spans[kept].end)
				list->spans[kept].end = list->spans[i].end;
		}
		else
			list->spans[++kept] = list->spans[i];
	}
	list->count = kept + 1;
}

/* Returns the index of the first span of a tidy list that ends after `at`. */
static int
span_list_from(const SpanList *list, int64_t at)
{
	int low = 0;
	int high = list->count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (list->spans[middle].end > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Makes of a tidy list, all within `within`, the list without what `taken` covers. */
void
span_list_subtract(const TimelineHost *host, SpanList *result, const SpanList *list, const SpanList *taken,
				   TimeSpan within)
{
	int next = span_list_from(taken, within.start);

	result->count = 0;
	for (int i = 0; i < list->count; i++)
	{
		int64_t start = list->spans[i].start;
		int64_t end = list->spans[i].end;

		while (next < taken->count && taken->spans[next].end <= start)
			next++;
		for (int j = next; j < taken->count && taken->spans[j].start < end; j++)
		{
			span_list_add(host, result, start, taken->spans[j].start);
			start = taken->spans[j].end;
		}
		span_list_add(host, result, start, end);
	}
}

/* Makes of a tidy list the list with what `added` covers of `within`. */
void
span_list_unite(const TimelineHost *host, SpanList *result, const SpanList *list, const SpanList *added,
				TimeSpan within)
{
	int next = span_list_from(added, within.start);
	int i = 0;

	result->count = 0;
	for (;;)
	{
		bool more = next < added->count && added->spans[next].start < within.end;

		if (i < list->count && (!more || list->spans[i].start <= added->spans[next].start))
		{
			span_list_add(host, result, list->spans[i].start, list->spans[i].end);
			i++;
		}
		else if (more)
		{
			TimeSpan span = added->spans[next++];

			span_list_add(host, result, span.start > within.start ? span.start : within.start,
						  span.end < within.end ? span.end : within.end);
		}
		else
			break;
	}
}
