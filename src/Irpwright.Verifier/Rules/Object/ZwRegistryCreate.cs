namespace Irpwright.Verification.Rules;

/// <summary>Strict: a driver may also keep a key open that belongs to its device.</summary>
sealed class ZwRegistryCreate() : RegistryHandleRule(KernelExports.ZwCreateKey)
{
    public static RuleInfo Definition { get; } = new(nameof(ZwRegistryCreate), RuleFamily.Object, Advice,
        Pages.Wdm(nameof(ZwRegistryCreate)), null,
        "A key of ZwCreateKey is used after it was closed, opened again while it is open, or left open by a dispatch or cancel routine.",
        static () => new ZwRegistryCreate())
    {
        Instead = "Create the key where it is needed, and close it in the same routine on every path.",
        Wrong = """
            status = ZwCreateKey(&key, KEY_WRITE, &attributes, 0, NULL, REG_OPTION_NON_VOLATILE, NULL);
            ZwClose(key);
            ZwSetValueKey(key, &name, 0, REG_DWORD, &value, sizeof(value));
            """,
        Right = """
            status = ZwCreateKey(&key, KEY_WRITE, &attributes, 0, NULL, REG_OPTION_NON_VOLATILE, NULL);
            ZwSetValueKey(key, &name, 0, REG_DWORD, &value, sizeof(value));
            ZwClose(key);
            """,
    };
}
