// Requests to this server: the CSRF token on every change, problems as sentences.

import {away} from "./notices.js";

const csrf = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

export class Refused extends Error {
  constructor(status, problem) {
    super(`${problem.detail ?? `the server answered ${status}`}${problem.error_id ? ` (id ${problem.error_id})` : ""}`);
    this.status = status;
    this.problems = problem.errors ?? [];
  }
}

export async function request(url, {method = "GET", body, headers = {}} = {}) {
  const options = {method, headers: {Accept: "application/json", ...headers}, credentials: "same-origin"};
  if (method !== "GET") options.headers["X-CSRF-Token"] = csrf();
  if (body !== undefined) {
    options.headers["Content-Type"] ??= "application/json";
    options.body = typeof body === "string" ? body : JSON.stringify(body);
  }
  const response = await fetch(url, options).catch(() => {
    away("The server does not answer: what is shown may be old, and nothing can be changed now.");
    throw new Error("the server does not answer");
  });
  away(response.status === 503 ? "The ledger does not answer: what is shown may be old, and nothing can be changed now." : "");
  if (response.redirected && new URL(response.url).pathname === "/login") location.assign(response.url);
  if (!response.ok) throw new Refused(response.status, await response.json().catch(() => ({})));
  return response;
}

export const getText = async (url) => {
  const response = await request(url, {headers: {Accept: "text/html, application/problem+json;q=0.9", "X-Fragment": "1"}});
  return {text: await response.text(), revision: response.headers.get("X-Revision")};
};
export const getJSON = async (url) => (await request(url)).json();
