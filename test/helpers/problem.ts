import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { Value } from 'typebox/value'
import { Problem } from '../../schemas/problem.ts'
import { Rejected } from '../../schemas/uploads.ts'

/** Asserts that an answer is the problem (RFC 9457) that it should be, and says something that helps. */
export function isProblem(
  t: Test,
  answer: Pick<LightMyRequestResponse, 'statusCode' | 'headers' | 'body'>,
  status: number,
  name: string,
  detail: RegExp = /./,
  about = name,
) {
  t.equal(answer.statusCode, status, `${about}: status`)
  t.match(answer.headers['content-type'], /^application\/problem\+json/, `${about}: media type`)
  const problem = JSON.parse(answer.body)
  t.ok(Value.Check({ Rejected }, Problem, problem), `${about}: is a problem`)
  t.equal(problem.type, `urn:hasty:problem:${name}`, `${about}: type`)
  t.match(problem.detail, detail, `${about}: detail`)
}
