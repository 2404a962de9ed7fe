/*
 * clock.h
 *	  Moments, clocks and how the former move the latter. Within the room.
 */
#ifndef OMNICHANNEL_SLA_CLOCK_H
#define OMNICHANNEL_SLA_CLOCK_H

#include "core/look.h"
#include "sla/policy.h"
#include "sla/sla.h"

/* Stands for a time that there is not. */
#define NO_TIME DT_NOBEGIN

/* At the same time they come in this order, but for a request's end, which comes last. */
typedef enum MomentKind
{
	MOMENT_REQUEST,
	MOMENT_INBOUND,
	MOMENT_OUTBOUND
} MomentKind;

/* Whether something is so, where that may not have been asked. */
typedef enum SlaAnswer
{
	SLA_NOT_ASKED,
	SLA_NO,
	SLA_YES
} SlaAnswer;

/* A row of sla_moment; ids of 0 and NULL pointers stand for what is not given. */
typedef struct SlaMoment
{
	int64 customer_id;
	int64 moment_id;
	TimestampTz at;
	MomentKind what;
	int64 request_id;
	int64 contact_id;
	const char *channel;
	const char *thread;
	const char *source;  /* whose key the thread is, NULL where none is named, or there is no thread */
	const char *outcome; /* of a contact; the rest is of a request */
	const char *state;
	const char *kind;
	const char *queue;
	int32 priority;
	int64 version;
	int64 foreign_id;       /* the request of another customer that it named while they were one; not stored */
	int64 foreign_root;     /* that customer, or whom it was merged into; not stored */
	SlaAnswer wrote_before; /* the customer had written before in its request or thread; not stored */
	bool settled;           /* it tells only that the customer has written; see sla_customer.settled_until */
} SlaMoment;

/* A span of time, half-open; `to` is DT_NOEND while it lasts. */
typedef struct SlaSpan
{
	TimestampTz from;
	TimestampTz to;
} SlaSpan;

typedef enum SlaOutcome
{
	SLA_OPEN,
	SLA_MET,
	SLA_BREACHED,
	SLA_CANCELLED
} SlaOutcome;

typedef struct SlaClock
{
	/* what the moments say */
	SlaMetric metric;
	int64 customer_id;
	int64 request_id;
	const char *channel;
	const char *thread;
	const char *source; /* as in SlaMoment */
	int64 moment_id;
	TimestampTz started_at;
	int pause_count;
	SlaSpan *pauses;
	TimestampTz stopped_at;        /* NO_TIME while it runs */
	bool cancelled;                /* stopped because its request was cancelled */
	bool unpromised;               /* no policy has fitted so far: it is there for what it would have stood still */
	const struct SlaClock *stored; /* it stops when this one did at the latest, whatever the moments say; or NULL */
	bool former;                   /* no policy fits, but one did: a clock is stored that has stopped */
	bool unmade;                   /* a policy fits, but none did when it was time; see sla_family_feed() */

	/* what the policies say */
	const SlaPolicy *policy; /* NULL where the clock was stored with one that is gone */
	SlaQuestion question;    /* that the policy answered */
	const char *policy_code;
	Interval target;
	const char *calendar;

	/* what follows; see sla_reckon() */
	TimestampTz due_at; /* NO_TIME while it stands still, DT_NOEND where it never comes */
	int64 time_left;    /* microseconds, while it stands still */
	TimestampTz warn_at;
	TimestampTz tell_at;
	SlaOutcome outcome;
	int64 elapsed; /* microseconds, once it is stopped */
	int64 worked;  /* -1 where there is no calendar */

	/* what is stored */
	int64 clock_id; /* 0 for a new one */
	TimestampTz warned_at;
	TimestampTz breached_at;
	bool settled;  /* it had stopped before settled_until, and its moments of then may be deleted */
	bool orphaned; /* it had stopped, and its request, whose moments are gone with it, was deleted */
	bool stays;    /* it has stopped, and what the moments say of it is not followed */
	TimestampTz settled_until;
	ItemPointerData place; /* of the version that was read, where that is not locked; otherwise invalid */
} SlaClock;

/*
 * Told by sla_reckon() of what used the target up until an instant, in the order of time: spells, of which those that
 * are a working day say so, and each pause, with what was left of the target then and when that was due.
 */
typedef struct SlaCollector
{
	void (*spell)(void *context, TimestampTz from, TimestampTz to, const Interval *used);
	void (*pause)(void *context, const SlaSpan *pause, int64 left, TimestampTz due);
	TimestampTz until;
	void *context;
} SlaCollector;

/* due.c */
extern bool sla_ruler_exists(const char *calendar);
extern void sla_reckon(SlaClock *clock, TimestampTz now, const SlaCollector *collector);

/* A request as the machine knows it. */
typedef struct SlaRequest
{
	int64 request_id;
	const SlaMoment *last;     /* what was said of it last, or NULL */
	const SlaMoment *first;    /* its opening, or what the customer wrote before that */
	bool wrote;                /* the customer has written in it */
	bool answered_by_customer; /* an inbound contact ended the wait that the state still says */
	SlaClock *resolution;
} SlaRequest;

/* The clocks of a customer, merged ones included, up to some moment. */
typedef struct SlaMachine
{
	const SlaPolicies *policies;
	SlaMemberships memberships;
	int clock_count;
	int clock_room;
	SlaClock **clocks;    /* in the order in which they started */
	int unpromised_count; /* of those after them by which nothing was promised; see sla_machine_feed() */
	int running_count;
	int running_room;
	SlaClock **running; /* those that have not stopped */
	int request_count;
	int request_room;
	SlaRequest *requests;
	int thread_count;
	int thread_room;
	const SlaMoment **threads; /* in which the customer has written: one moment of each */
	int stored_count;
	SlaClock **stored; /* stored ones, by start: what was promised then was */
	bool parted;       /* but for what was promised to this customer as one with others */
	int told_count;
	SlaClock **told; /* the same of whom the customer was told, though nothing is promised now */
	int unmade_count;
	SlaClock **unmade; /* as SlaFamily has them */
	int ending_count;
	int ending_room;
	const SlaMoment **endings; /* of requests, that are yet to come: what is of the same time comes before them */
	bool asked;                /* of what prompt.c does not read */
	bool partial;              /* what the customer wrote earlier is not here: ask */
	bool (*wrote_before)(struct SlaMachine *machine, const SlaMoment *moment);
	void (*find_memberships)(struct SlaMachine *machine);
	int64 root;
} SlaMachine;

/* machine.c */
extern void sla_machine_init(SlaMachine *machine, const SlaPolicies *policies, int64 root);
extern void sla_machine_add(SlaMachine *machine, SlaClock *clock);
extern SlaRequest *sla_machine_request(SlaMachine *machine, int64 request_id);
extern void sla_machine_apply(SlaMachine *machine, const SlaMoment *moment);
extern void sla_machine_feed(SlaMachine *machine, SlaMoment *const *moments, int count);
extern SlaQuestion sla_machine_question(SlaMachine *machine, SlaMetric metric, const SlaRequest *request,
										const char *channel, TimestampTz at);
extern bool sla_is_response(const SlaClock *clock);
extern void sla_clock_stop(SlaClock *clock, TimestampTz at, bool cancelled);
extern bool sla_clock_moved(const SlaClock *clock, const SlaClock *before);
extern bool sla_state_ends(const char *state);

/* store.c: a customer with all that were merged into it, and what is to be reckoned of them */
typedef struct SlaFamily
{
	int64 root;
	bool grouped;        /* merged, or others into it, by the time that its row was taken */
	bool late;           /* some of the new moments came before others that are known: reckon with all */
	TimestampTz from;    /* what had ended before stays as it is */
	bool held_by_others; /* it cannot be had without waiting */
	int moved_count;     /* new moments that turned out to be of another family */
	bool others;         /* new moments name requests of others than their customers */
	int moment_count;
	int moment_room;
	SlaMoment **moments; /* new ones, or all of them */
	int clock_count;
	int clock_room;
	SlaClock **clocks; /* as they are stored */
	int said_count;
	SlaMoment **said; /* what requests said before the moments that name them; see read_named(), sla_requests_read() */
	SlaMemberships memberships;     /* where sla_families_memberships() has read them */
	const SlaMoment *former_moment; /* as it was, where the only moment is not new, but was corrected; or NULL */
	int compared_count;
	SlaClock **compared; /* clocks of which those that turn out to be the same are not concerned, by start; or NULL */
	bool parted;         /* compared with what it would have with others: it gets what it would have had alone */
	int never_count;
	SlaClock **never; /* of the compared ones those that are not stored: the policies are newer than they */
	int unmade_count;
	SlaClock **unmade; /* those that moments and policies give, but that are not made, as they ended before; by start */
} SlaFamily;

extern int64 sla_next_moment_id(void);
extern void sla_family_add(SlaFamily *family, SlaMoment *moment);
extern const char *sla_moment_name(MomentKind what);
extern Datum sla_roots_array(const SlaFamily *families, int count);
extern void sla_moments_add(const SlaFamily *families, int count);
extern void sla_moment_add(const SlaMoment *moment);
extern void sla_moments_write(SlaFamily *families, int count);
extern int sla_moment_compare_requests(const void *a, const void *b);
extern void sla_families_foreign(SlaFamily *families, int count);
extern void sla_moments_read(SlaFamily *families, int count);

/* clocks.c: which clocks to read, and whether to lock them for a change. */
typedef enum SlaRead
{
	SLA_HOLD_OPEN,
	SLA_HOLD_ALL,
	SLA_TRY_ALL,
	SLA_LOOK_AT_ALL
} SlaRead;

/* Of a customer with more open ones only those are read that new moments concern. */
#define SLA_MANY_CLOCKS 16

extern void sla_clocks_read(const SlaPolicies *policies, SlaFamily *families, int count, SlaRead read);
extern void sla_clocks_own(const SlaPolicies *policies, SlaFamily *family);
extern bool sla_clocks_look(const SlaPolicies *policies, SlaFamily *family);
extern void sla_clocks_near(const SlaPolicies *policies, SlaFamily *family);
extern const char *sla_outcome_name(SlaOutcome outcome);
extern void sla_pauses_read(SlaClock *clock, Datum value);
extern Datum sla_pauses_datum(const SlaClock *clock);
extern SlaClock *sla_clock_from_row(const SlaPolicies *policies, uint64 row, int column);
extern void sla_memberships_read(SlaMachine *machine);
extern void sla_families_memberships(const SlaPolicies *policies, SlaFamily *families, int count);

#define SLA_MOMENT_COLUMNS                                                                                             \
	"customer_id, at, moment_id, what, request_id, contact_id, channel, thread, source, outcome, state, kind,"         \
	" queue, priority, version"
/*
 * The same of a contact c that is still. The moment's id, as none is written, is that of the contact below zero;
 * revised into an internal one it concerns no clock, like one that failed.
 */
#define SLA_STILL_COLUMNS                                                                                              \
	"c.customer_id, c.occurred_at, - c.contact_id,"                                                                    \
	" CASE c.direction WHEN 'internal' THEN 'inbound' ELSE c.direction END,"                                           \
	" c.request_id, c.contact_id, c.channel, c.thread, CASE WHEN c.thread IS NOT NULL THEN c.source END,"              \
	" CASE c.direction WHEN 'internal' THEN 'failed' ELSE c.outcome END,"                                              \
	" NULL, NULL, NULL, NULL::integer, NULL::bigint"
/* The same of a request r that was closed before anybody looked. */
#define SLA_CLOSED_COLUMNS                                                                                             \
	"r.customer_id, r.state_since, 0::bigint, 'request', r.request_id, NULL::bigint, r.channel, NULL::text,"           \
	" NULL::text, NULL::text, r.state, r.kind, r.queue, r.priority, r.version"
/* A customer with all that were merged into it. */
#define SLA_FAMILY                                                                                                     \
	"(SELECT r AS root, r AS customer_id FROM unnest($1) AS r UNION ALL"                                               \
	" SELECT k.merged_into, k.customer_id FROM omnichannel.customer AS k WHERE k.merged_into = ANY ($1))"

extern SlaFamily *sla_family_find(SlaFamily *families, int count, int64 root);
extern SlaMoment *sla_moment_from_row(uint64 row, int column);

/* hold.c */
extern int sla_families_hold(SlaFamily *families, int count);
extern int sla_families_free(SlaFamily *families, int count);
extern bool sla_family_hold(SlaFamily *family);
extern int sla_families_try(SlaFamily *families, int count);
extern void sla_families_behind(const SlaFamily *families, int count, bool again);
extern void sla_families_doubt(SlaFamily *families, int count);
extern int sla_families_take(SlaFamily *families, int count, const SlaPolicies *policies, bool again);

/* ask.c */
extern void sla_requests_read(SlaFamily *families, int count);
extern void sla_requests_gone(SlaFamily *family);
extern void sla_earlier_read(SlaFamily *families, int count);
extern bool sla_wrote_before(SlaMachine *machine, const SlaMoment *moment);

#define SLA_CLOCK_COLUMNS                                                                                              \
	"c.customer_id, c.clock_id, c.metric, c.policy, c.request_id, c.channel, c.thread, c.source,"                      \
	" c.moment_id, c.started_at, c.target, c.calendar, c.pauses, c.due_at, c.time_left, c.stopped_at,"                 \
	" c.outcome, c.elapsed, c.worked, c.warn_at, c.tell_at, c.warned_at, c.breached_at"
#define SLA_CLOCK_NCOLUMNS 23
extern const TableColumn sla_clock_columns[SLA_CLOCK_NCOLUMNS];

/* array.c: columns of rows for statements over arrays */
typedef struct SlaColumn
{
	Oid type;
	int count;
	int room;
	Datum *values;
	bool *nulls;
} SlaColumn;

extern void sla_column_add(SlaColumn *column, Datum value, bool isnull);
extern void sla_column_add_text(SlaColumn *column, const char *value);
extern void sla_column_add_id(SlaColumn *column, int64 value);
extern void sla_column_add_time(SlaColumn *column, TimestampTz value);
extern void sla_column_add_microseconds(SlaColumn *column, int64 value, bool isnull);
extern Datum sla_column_array(const SlaColumn *column);

/* write.c: clocks that were made, changed or are no more, written together */
typedef struct SlaChanges
{
	TimestampTz now;
	void (*report)(void *context, const SlaClock *before, const SlaClock *after); /* NULL for nobody */
	void *context;
	SlaColumn made[SLA_CLOCK_NCOLUMNS];
	SlaColumn changed[SLA_CLOCK_NCOLUMNS];
	SlaColumn dropped[2];
	SlaColumn withdrawn[3];
	ItemPointerData place; /* of the clock that was changed last, as SlaClock has it */
	SlaColumn moved;       /* requests of which a clock is due at another time, or is new or no more */
} SlaChanges;

extern void sla_changes_begin(SlaChanges *changes, TimestampTz now);
extern bool sla_changes_put(SlaChanges *changes, SlaClock *clock, const SlaClock *before);
extern void sla_changes_drop(SlaChanges *changes, const SlaClock *before);
extern bool sla_changes_write_one(SlaChanges *changes);
extern void sla_changes_write(SlaChanges *changes);

/* effect.c: a new moment, before it has found its family */
typedef struct SlaNewMoment
{
	int64 root;
	bool anew;             /* it does more than move open clocks on */
	bool opens;            /* it is a contact that has opened its request */
	bool others;           /* it is a contact about a request of another customer, who may be another again */
	ItemPointerData place; /* as SlaContact has it */
	bool *still;           /* set where the contact, not written yet, is to say itself that it is still; or NULL */
	SlaMoment moment;
} SlaNewMoment;

/* prompt.c */
typedef struct SlaPrompts SlaPrompts;

extern SlaPrompts *sla_prompts_begin(const SlaPolicies *policies);
extern bool sla_moment_still(SlaPrompts *prompts, const SlaNewMoment *contact, bool write);
extern void sla_prompts_end(SlaPrompts *prompts);
extern bool sla_moment_prompt(const SlaPolicies *policies, SlaMoment *moment, const SlaRequestState *request,
							  bool *still, bool *overtaken);

/* wait.c: the customer's row, and what the customer waits for */
#define SLA_KNOWN_COLUMNS 8

extern LookUp sla_known_look;
extern bool sla_is_message(const SlaMoment *moment);
extern bool sla_known_to_wait(const SlaMoment *moment, const Datum *row, const bool *nulls);
extern bool sla_known_change(LookScan *scan, const SlaMoment *moment, const SlaRequestState *request, bool waits,
							 bool moves, const Datum *row, const bool *row_nulls);

/* Those of contacts that are logged together, of which some may be written. */
typedef struct SlaContacts
{
	SlaNewMoment **moments;
	int count;
} SlaContacts;

/* Families whose clocks are to be reckoned as of a time. */
typedef struct SlaMoved
{
	MemoryContext context;
	SlaColumn roots;
	TimestampTz from;
} SlaMoved;

/* take.c */
extern int sla_new_moment_compare(const void *a, const void *b);
extern void sla_moments_take(SlaNewMoment **moments, int count, const SlaPolicies *policies, bool wait, SlaMoved *moved,
							 SlaChanges *changes);

/* moved.c */
extern void sla_roots_find(SlaNewMoment **moments, int count);
extern int sla_moved_find(SlaNewMoment **moments, int count, SlaFamily *families, int family_count, SlaMoved *moved);
extern void sla_moved_follow(const SlaMoved *moved, const SlaPolicies *policies, SlaChanges *changes);

/* request.c */
extern int sla_request_moments(const int64 *request_ids, int count, const SlaContacts *contacts,
							   SlaNewMoment ***moments, int taken, int *missing, SlaColumn *corrected, bool *merged);
extern void sla_requests_follow(const int64 *request_ids, int count, const SlaPolicies *policies, SlaChanges *changes);

/* know.c */
extern void sla_machine_begin(SlaMachine *machine, const SlaPolicies *policies, int64 root);
extern SlaClock *sla_clock_copy(const SlaClock *clock);
extern void sla_machine_know_requests(SlaMachine *machine, const SlaFamily *family);
extern void sla_machine_settle(SlaMachine *machine, const SlaFamily *family);
extern void sla_machine_know(SlaMachine *machine, const SlaPolicies *policies, const SlaFamily *family);

/* compare.c */
extern int sla_moment_compare(const void *a, const void *b);
extern bool sla_same_text(const char *left, const char *right);
extern bool sla_same_thread(const char *thread, const char *source, const char *other, const char *other_source);
extern SlaClock **sla_clock_find(SlaClock **clocks, int count, SlaMetric metric, int64 moment_id);
extern int sla_clock_compare_starts(const void *a, const void *b);
extern SlaClock **sla_clocks_sorted(SlaClock *const *clocks, int count);
extern SlaClock **sla_clocks_missing(SlaClock *const *clocks, int count, SlaClock **others, int other_count,
									 int *missing);
extern void sla_families_compare_as_one(SlaFamily *families, int count, const SlaPolicies *policies);
extern void sla_family_compare_without(SlaFamily *family, const SlaPolicies *policies, const int64 *moment_ids,
									   int count);

/* reckon.c */
extern void sla_family_feed(SlaFamily *family, const SlaPolicies *policies, SlaMoment *const *moments, int count,
							SlaMachine *machine);
extern void sla_families_reckon(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes);
extern void sla_families_reckon_read(SlaFamily *families, int count, const SlaPolicies *policies, SlaChanges *changes);
extern void sla_customers_reckon(const int64 *roots, int count, const SlaPolicies *policies, SlaChanges *changes);
extern void sla_family_advance(SlaFamily *family, const SlaPolicies *policies, SlaChanges *changes);
extern int sla_families_of(const int64 *roots, int count, SlaFamily **families);

#endif /* OMNICHANNEL_SLA_CLOCK_H */
