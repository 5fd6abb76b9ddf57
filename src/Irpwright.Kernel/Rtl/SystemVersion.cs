using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Which Windows this is, as the page at 0xFFFFF780`00000000 says too.</summary>
public sealed class SystemVersion
{
    const ushort SingleUserTerminalServices = 0x0100; // VER_SUITE_SINGLEUSERTS

    readonly Machine machine;

    internal SystemVersion(Machine machine) => this.machine = machine;

    PKUSER_SHARED_DATA Page => new(machine.Memory.SharedUserData);

    /// <summary>Tells the version of the system. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="lpVersionInformation">Filled as far as its dwOSVersionInfoSize says: RTL_OSVERSIONINFOW or RTL_OSVERSIONINFOEXW.</param>
    /// <returns>STATUS_SUCCESS.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlGetVersion(PRTL_OSVERSIONINFOEXW lpVersionInformation)
    {
        lpVersionInformation.dwMajorVersion = Page.NtMajorVersion;
        lpVersionInformation.dwMinorVersion = Page.NtMinorVersion;
        lpVersionInformation.dwBuildNumber = Page.NtBuildNumber;
        lpVersionInformation.dwPlatformId = VER_PLATFORM_WIN32_NT;
        lpVersionInformation.szCSDVersion = default; // no service pack
        if (lpVersionInformation.dwOSVersionInfoSize < RTL_OSVERSIONINFOEXW.SizeOf) return STATUS_SUCCESS;
        lpVersionInformation.wServicePackMajor = lpVersionInformation.wServicePackMinor = 0;
        lpVersionInformation.wSuiteMask = SingleUserTerminalServices;
        lpVersionInformation.wProductType = VER_NT_WORKSTATION;
        lpVersionInformation.wReserved = 0;
        return STATUS_SUCCESS;
    }

    /// <summary>Whether the system has a version of WDM: it has 6.00. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN IoIsWdmVersionAvailable(byte MajorVersion, byte MinorVersion) => MajorVersion < 6 || (MajorVersion == 6 && MinorVersion == 0);

    /// <summary>Whether the processor can do something. Any IRQL.</summary>
    /// <param name="ProcessorFeature">PF_*.</param>
    [KernelExport]
    public BOOLEAN ExIsProcessorFeaturePresent(uint ProcessorFeature)
    {
        const uint count = 64; // PROCESSOR_FEATURE_MAX
        return ProcessorFeature < count && Page.ProcessorFeatures[(int)ProcessorFeature];
    }

    /// <summary>Tells the version of the system; obsolete. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="CSDVersion">Service pack: becomes empty. Like the others it may be null.</param>
    /// <returns>FALSE: this is a free build.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public BOOLEAN PsGetVersion(PULONG MajorVersion, PULONG MinorVersion, PULONG BuildNumber, PUNICODE_STRING CSDVersion)
    {
        if (!MajorVersion.IsNull) MajorVersion.Value = Page.NtMajorVersion;
        if (!MinorVersion.IsNull) MinorVersion.Value = Page.NtMinorVersion;
        if (!BuildNumber.IsNull) BuildNumber.Value = Page.NtBuildNumber;
        if (!CSDVersion.IsNull) CSDVersion.Length = 0;
        return false;
    }

    /// <summary>Compares the system with requirements. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="TypeMask">VER_ constants: what to compare.</param>
    /// <param name="ConditionMask">How, as <see cref="VerSetConditionMask"/> makes it.</param>
    /// <returns>STATUS_REVISION_MISMATCH: not met. STATUS_INVALID_PARAMETER: nothing to compare, or a comparison is missing.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlVerifyVersionInfo(PRTL_OSVERSIONINFOEXW VersionInfo, uint TypeMask, ulong ConditionMask)
    {
        if (TypeMask == 0) return STATUS_INVALID_PARAMETER;
        uint suite = VersionInfo.wSuiteMask;
        if ((TypeMask & VER_SUITENAME) != 0 && Suites(Condition(VER_SUITENAME), suite) is var suites && suites != STATUS_SUCCESS) return suites;
        ReadOnlySpan<(uint Type, uint Actual, uint Wanted)> single =
        [
            (VER_PRODUCT_TYPE, VER_NT_WORKSTATION, VersionInfo.wProductType),
            (VER_PLATFORMID, VER_PLATFORM_WIN32_NT, VersionInfo.dwPlatformId),
            (VER_BUILDNUMBER, Page.NtBuildNumber, VersionInfo.dwBuildNumber),
        ];
        foreach ((uint type, uint actual, uint wanted) in single)
        {
            if ((TypeMask & type) == 0) continue;
            if (Compare(Condition(type), actual.CompareTo(wanted)) is not { } holds) return STATUS_INVALID_PARAMETER;
            if (!holds) return STATUS_REVISION_MISMATCH;
        }
        // Version and service pack count as one number: the comparison of its first part holds for all of it.
        ReadOnlySpan<(uint Type, uint Actual, uint Wanted)> version =
        [
            (VER_MAJORVERSION, Page.NtMajorVersion, VersionInfo.dwMajorVersion), (VER_MINORVERSION, Page.NtMinorVersion, VersionInfo.dwMinorVersion),
            (VER_SERVICEPACKMAJOR, 0, VersionInfo.wServicePackMajor), (VER_SERVICEPACKMINOR, 0, VersionInfo.wServicePackMinor),
        ];
        byte condition = 0;
        int order = 0;
        foreach ((uint type, uint actual, uint wanted) in version)
        {
            if ((TypeMask & type) == 0 || order != 0) continue;
            if (condition == 0) condition = Condition(type);
            order = actual.CompareTo(wanted);
        }
        bool comparesVersion = (TypeMask & (VER_MAJORVERSION | VER_MINORVERSION | VER_SERVICEPACKMAJOR | VER_SERVICEPACKMINOR)) != 0;
        return !comparesVersion ? STATUS_SUCCESS : Compare(condition, order) switch
        {
            null => STATUS_INVALID_PARAMETER,
            true => STATUS_SUCCESS,
            false => STATUS_REVISION_MISMATCH,
        };

        byte Condition(uint type) => (byte)(ConditionMask >> (3 * System.Numerics.BitOperations.TrailingZeroCount(type)) & 7);
    }

    static bool? Compare(byte condition, int order) => condition switch
    {
        VER_EQUAL => order == 0,
        VER_GREATER => order > 0,
        VER_GREATER_EQUAL => order >= 0,
        VER_LESS => order < 0,
        VER_LESS_EQUAL => order <= 0,
        _ => null,
    };

    static NTSTATUS Suites(byte condition, uint wanted) => condition switch
    {
        VER_AND => (SingleUserTerminalServices & wanted) == wanted ? STATUS_SUCCESS : STATUS_REVISION_MISMATCH,
        VER_OR => (SingleUserTerminalServices & wanted) != 0 || wanted == 0 ? STATUS_SUCCESS : STATUS_REVISION_MISMATCH,
        _ => STATUS_INVALID_PARAMETER,
    };

    /// <summary>Adds a comparison to a condition mask. Any IRQL.</summary>
    /// <param name="TypeMask">One or more VER_ constants.</param>
    /// <param name="Condition">VER_EQUAL to VER_LESS_EQUAL, for VER_SUITENAME VER_AND or VER_OR.</param>
    [KernelExport]
    public ulong VerSetConditionMask(ulong ConditionMask, uint TypeMask, byte Condition)
    {
        const byte known = 7;
        for (int bit = 0; bit < 8; bit++)
        {
            if ((TypeMask & 1u << bit) != 0) ConditionMask |= (ulong)(Condition & known) << 3 * bit;
        }
        return ConditionMask;
    }

    /// <summary>The macro for <see cref="VerSetConditionMask"/>.</summary>
    [WdkInline]
    public void VER_SET_CONDITION(ref ulong ConditionMask, uint TypeBitMask, byte ComparisonType) =>
        ConditionMask = VerSetConditionMask(ConditionMask, TypeBitMask, ComparisonType);
}
