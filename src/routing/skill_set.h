/*
 * skill_set.h
 *	  The type skill_set as C sees it.
 *
 * A varlena whose data are the stored form of skills.h. They are single bytes, so that a datum with a
 * short header is read where it lies.
 */
#ifndef OMNICHANNEL_SKILL_SET_H
#define OMNICHANNEL_SKILL_SET_H

#include "routing/skills.h"

typedef struct varlena SkillSet;

#define SKILL_SET_BYTES(set) ((unsigned char *) VARDATA_ANY(set))
#define SKILL_SET_SIZE(set) ((size_t) VARSIZE_ANY_EXHDR(set))
#define PG_GETARG_SKILL_SET(n) ((SkillSet *) PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(n)))

#define skill_set_contains(has, asked)                                                                                 \
	skill_contains(SKILL_SET_BYTES(has), SKILL_SET_SIZE(has), SKILL_SET_BYTES(asked), SKILL_SET_SIZE(asked))

extern SkillSet *skill_set_from_text(const char *text);

#endif /* OMNICHANNEL_SKILL_SET_H */
