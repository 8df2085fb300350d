// Addresses inside the page: `#/tenants/17/usage`. They hold ids, never a secret.

/** What an address means: `{page, id, tab}`. */
export function parse(hash) {
  const [page, id, tab] = hash.replace(/^#\/?/, "").split("/");
  if (page === "tenants" && /^[0-9]+$/.test(id ?? "")) return { page: "tenant", id: Number(id), tab: tab || "overview" };
  if (page === "organisations" && /^[0-9]+$/.test(id ?? "")) return { page: "organisation", id: Number(id), tab: "" };
  if (["tenants", "organisations", "status"].includes(page) && !id) return { page, id: null, tab: "" };
  return { page: "", id: null, tab: "" };
}

export const links = {
  tenants: "#/tenants",
  tenant: (id, tab = "") => `#/tenants/${id}${tab ? `/${tab}` : ""}`,
  organisations: "#/organisations",
  organisation: (id) => `#/organisations/${id}`,
  status: "#/status",
};
