/** The state of a node at a glance, and whether it is well. */

import { VERSION } from '../base/version.js'
import { problemText } from '../k8s/problem.js'
import type { Agent } from './agent.js'

export interface Health {
  readonly isHealthy: boolean
  readonly reasons: readonly string[]
}

export function healthOf(agent: Agent): Health {
  const { isReady } = agent.supervisor.status
  const reasons = isReady ? [] : ['no datapath is up']
  return { isHealthy: isReady, reasons }
}

export function statusOf(agent: Agent) {
  const endpoints = agent.view.endpoints()
  const pods = endpoints.filter(({ kind }) => kind === 'pod')
  return {
    node: agent.node.metadata.name,
    version: VERSION,
    agent: { pid: process.pid, startedAt: agent.startedAt.toISOString() },
    datapath: agent.supervisor.status,
    health: healthOf(agent),
    endpoints: {
      count: pods.length,
      attached: pods.filter(({ status }) => status === 'attached').length,
    },
    services: agent.view.services().length,
    documents: agent.store.state.documents.length,
    problems: agent.problems.map(problemText),
    failures: agent.failures.map(({ change, message }) => ({
      object: `${change.kind} ${change.name}`,
      action: change.action,
      message,
    })),
    counters: agent.view.counters(),
    maps: agent.view.mapList().filter(({ pressure }) => pressure > 0),
    events: { seen: agent.flows.count, lost: agent.flows.lost },
    setup: agent.setup,
    paths: agent.paths,
  }
}
