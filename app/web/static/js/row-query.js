// What lists ask of a release.

export const UNDER_WAY = ["WAITING_FOR_REVIEW", "IN_PROGRESS", "PAUSED"];

export const ROW = `
  id number status revision description pipelineId pipelineName feature { key } startedBy { name } startedAt endedAt
  phases { name status releasedAt }
  currentPhase { name status requiredApprovals approvals { at } bakeTime bakeEndsAt bakeRemaining }
`;
