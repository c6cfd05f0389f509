/** The state of a node at a glance, and whether it is well. */

import { getSystemErrorName } from 'node:util'
import { VERSION } from '../base/version.js'
import { problemText } from '../k8s/problem.js'
import type { EndpointRowView } from '../observe/endpoint-view.js'
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

export interface StatusFailure {
  readonly object: string
  readonly action: string
  readonly message: string
}

const failedChanges = ({ failures }: Agent): StatusFailure[] =>
  failures.map(({ change, message }) => {
    return { object: `${change.kind} ${change.name}`, action: change.action, message }
  })

/** A port whose device went, or never came: the datapath goes on trying, and frames for it are lost. */
function failedPort({ kind, name, device, status, errno }: EndpointRowView): StatusFailure[] {
  if (status !== 'failed') return []
  const object = kind === 'pod' ? `Endpoint ${name}` : `${kind} ${device}`
  const message = `${device}: ${getSystemErrorName(-errno)}; what is sent to it is lost`
  return [{ object, action: 'attach', message }]
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
    failures: [...failedChanges(agent), ...endpoints.flatMap(failedPort)],
    counters: agent.view.counters(),
    maps: agent.view.mapList().filter(({ pressure }) => pressure > 0),
    events: { seen: agent.flows.count, lost: agent.flows.lost },
    setup: agent.setup,
    paths: agent.paths,
  }
}
