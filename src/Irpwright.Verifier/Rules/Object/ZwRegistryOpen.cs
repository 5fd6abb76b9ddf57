namespace Irpwright.Verification.Rules;

/// <summary>Strict: a driver may also keep a key open that belongs to its device.</summary>
sealed class ZwRegistryOpen() : RegistryHandleRule(KernelExports.ZwOpenKey, KernelExports.ZwOpenKeyEx)
{
    public static RuleInfo Definition { get; } = new(nameof(ZwRegistryOpen), RuleFamily.Object, Advice,
        Pages.Wdm(nameof(ZwRegistryOpen)), null,
        "A key of ZwOpenKey is used after it was closed, opened again while it is open, or left open by a dispatch or cancel routine.",
        static () => new ZwRegistryOpen())
    {
        Instead = "Open the key where it is needed, and close it in the same routine on every path.",
        Wrong = """
            status = ZwOpenKey(&key, KEY_READ, &attributes);
            if (NT_SUCCESS(status)) status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, length, &needed);
            return Complete(Irp, status);
            """,
        Right = """
            status = ZwOpenKey(&key, KEY_READ, &attributes);
            if (NT_SUCCESS(status)) status = ZwQueryValueKey(key, &name, KeyValuePartialInformation, buffer, length, &needed);
            ZwClose(key);
            return Complete(Irp, status);
            """,
    };
}
