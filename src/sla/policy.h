/*
 * policy.h
 *	  Policies as configured, and which of them holds. Within the room.
 */
#ifndef OMNICHANNEL_SLA_POLICY_H
#define OMNICHANNEL_SLA_POLICY_H

#include "datatype/timestamp.h"

typedef enum SlaMetric
{
	SLA_FIRST_RESPONSE,
	SLA_NEXT_RESPONSE,
	SLA_RESOLUTION,
	SLA_CALLBACK
} SlaMetric;

#define SLA_METRICS (SLA_CALLBACK + 1)

/* What is promised; NULL and NO_PRIORITY fit all. */
typedef struct SlaPolicy
{
	const char *code;
	int32 rank;
	SlaMetric metric;
	const char *channel;
	const char *kind;
	const char *queue;
	const char *segment;
	int32 min_priority;
	Interval target;
	const char *calendar; /* NULL for elapsed time */
	bool warns;
	Interval warn_before;
	const char *notice_calendar;
	TimestampTz valid_from;  /* DT_NOBEGIN where it always was */
	TimestampTz valid_until; /* DT_NOEND where it lasts */
} SlaPolicy;

#define NO_PRIORITY PG_INT32_MIN

typedef struct SlaPolicies
{
	int count;
	SlaPolicy *policies; /* by metric, rank and code */
	bool segments;       /* some name a segment */
	int channel_count;   /* the channels by which people speak */
	const char **voice_channels;
} SlaPolicies;

/* The segments of a customer over time. */
typedef struct SlaMembership
{
	const char *segment;
	TimestampTz from;
	TimestampTz until;
} SlaMembership;

typedef struct SlaMemberships
{
	bool known;
	int count;
	SlaMembership *memberships;
} SlaMemberships;

/* What a policy must fit. */
typedef struct SlaQuestion
{
	SlaMetric metric;
	const char *channel;
	const char *kind;  /* NULL without a request */
	const char *queue; /* NULL where there is none */
	int32 priority;
	TimestampTz started_at;
	const SlaMemberships *memberships;
} SlaQuestion;

/* Told of each policy of the metric: why it lost, or NULL for the one that won. */
typedef void (*SlaVerdict)(void *context, const SlaPolicy *policy, const char *reason);

extern const SlaPolicies *sla_policies(void);
extern const SlaPolicies *sla_policies_to_write(void);
extern const SlaPolicy *sla_policy_fit(const SlaPolicies *policies, const SlaQuestion *question, SlaVerdict verdict,
									   void *context);
extern const SlaPolicy *sla_policy_find(const SlaPolicies *policies, const char *code, SlaMetric metric);
extern bool sla_channel_speaks(const SlaPolicies *policies, const char *channel);
extern bool sla_channel_counts(const SlaPolicies *policies, const char *channel);

extern const char *sla_metric_name(SlaMetric metric);
extern SlaMetric sla_metric_parse(const char *name);

#endif /* OMNICHANNEL_SLA_POLICY_H */
