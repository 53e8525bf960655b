// What the pages ask of a release.

/** What may change of a release while it is under way. */
export const LIVE = `
  id number status revision feature { key } endedAt expectedEndAt
  currentPhase { id name requiredApprovals approvals { at } }
  phases {
    id name status rules { environments conditions { attribute operator values } }
    bakeTime bakeEndsAt bakeRemaining releasedAt endedAt
    requiredApprovals preventSelfApproval reviewBypassed approvals { actor { name } at reason }
  }
  exposure { text }
  availableActions { action allowed reason confirmation bypassesReviewOf { name } }
`;

export const EVENT = "sequence type at actor { name } reason phase { name } bypassedReviewOf { name }";

const SPEC = `{
  defaultValue
  rules { name environments conditions { attribute operator values } passPercentage value }
}`;

export const RELEASE = `
  ${LIVE}
  description pipelineId pipelineName startedBy { name } startedAt
  change { before ${SPEC} after ${SPEC} }
  history { ${EVENT} }
`;
