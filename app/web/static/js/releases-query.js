// What is asked of a release by its own page.

const RULE = "environments conditions { attribute operator values }";

/** What may change of a release while it is under way. */
export const LIVE = `
  id number status revision feature { key } endedAt expectedEndAt
  currentPhase { id name requiredApprovals approvals { at } }
  phases {
    id name status rules { ${RULE} } bakeTime bakeEndsAt bakeRemaining releasedAt endedAt
    requiredApprovals preventSelfApproval reviewBypassed approvals { actor { name } at reason }
  }
  exposure { text environments { text } }
  availableActions { action allowed reason }
`;

export const EVENT = "sequence type at actor { name } reason phase { name } bypassedReviewOf { name }";

export const SPEC = `{ defaultValue rules { name ${RULE} passPercentage value } }`;

export const RELEASE = `
  ${LIVE}
  description pipelineId pipelineName startedBy { name } startedAt
  change { before ${SPEC} after ${SPEC} }
  history { ${EVENT} }
`;
