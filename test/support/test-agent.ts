/** An agent over files of its own, with nothing running: for what needs no packets. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent } from '../../src/daemon/agent.js'
import { ApiServer } from '../../src/daemon/api/server.js'
import { makeLog } from '../../src/daemon/log.js'
import { ofKind, parseDocuments } from '../../src/k8s/documents.js'

export class TestAgent {
  readonly directory = mkdtempSync(join(tmpdir(), 'rp-test-agent-'))
  readonly agent: Agent
  readonly api: ApiServer

  constructor() {
    mkdirSync(this.path('manifests'))
    const text = `apiVersion: ringpath.io/v1
kind: Node
metadata: { name: test }
spec:
  stateDirectory: ${this.path('state')}
  dataDirectory: ${this.path('data')}
  manifests: ${this.path('manifests')}
  host: { addresses: [10.0.0.1], mac: "02:00:00:00:ff:02", nodeMac: "02:00:00:00:ff:01" }
  maps: { connections: 16384, identities: 1024, policies: 1024, events: 1024 }
`
    writeFileSync(this.path('node.yaml'), text)
    const [node] = ofKind(parseDocuments(text, 'node.yaml'), 'Node')
    if (node === undefined) throw new Error('no node')
    const log = makeLog('error')
    log.level = 'silent'
    this.agent = new Agent(node.body, log)
    this.api = new ApiServer(this.agent)
  }

  path(name: string): string {
    return join(this.directory, name)
  }

  manifest(name: string, text: string): void {
    writeFileSync(join(this.path('manifests'), name), text)
  }

  async close(): Promise<void> {
    await this.api.close()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

/** An Endpoint document: 10.0.1.<id> with the label app=<name>. */
export const endpoint = (name: string, id: number): string => `---
apiVersion: ringpath.io/v1
kind: Endpoint
metadata: { name: ${name}, labels: { app: ${name} } }
spec:
  device: lxc-${name}
  address: 10.0.1.${id}
  mac: "02:00:00:00:00:0${id}"
  nodeMac: "02:00:00:00:ff:01"
`
