namespace Irpwright.Verification.Rules;

/// <summary>Resources are released by the routine that acquired them.</summary>
/// <remarks>The page also forbids to acquire one twice and to release one that was shared, both of which the DDIs allow: not reported.</remarks>
sealed class ExclusiveResourceAccess() : HeldAtReturnRule(static held => held is { Kind: LockKind.Resource, IsShared: false })
{
    public static RuleInfo Definition { get; } = new(nameof(ExclusiveResourceAccess), RuleFamily.Lock, Error,
        Pages.Wdm(nameof(ExclusiveResourceAccess)), null,
        "A dispatch, completion, cancel, DPC or work item routine returns while it owns a resource exclusively that it acquired.",
        static () => new ExclusiveResourceAccess())
    {
        Instead = "Release the resource on every path that leaves the routine.",
        Wrong = """
            KeEnterCriticalRegion();
            ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            KeLeaveCriticalRegion();
            return STATUS_SUCCESS;
            """,
        Right = """
            KeEnterCriticalRegion();
            ExAcquireResourceExclusiveLite(&Extension->Resource, TRUE);
            ExReleaseResourceLite(&Extension->Resource);
            KeLeaveCriticalRegion();
            return STATUS_SUCCESS;
            """,
    };
}
