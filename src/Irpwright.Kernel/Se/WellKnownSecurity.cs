using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Privileges and SIDs that every system knows; SeExports points to them.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/secauthz/well-known-sids"/>
public sealed class WellKnownSecurity
{
    readonly Machine machine;

    internal WellKnownSecurity(Machine machine)
    {
        this.machine = machine;
        Exports = new PSE_EXPORTS(machine.Variables.Room(SE_EXPORTS.SizeOf));
        Fill(ref Exports.Value);
        machine.Variables.DefineValue("SeExports", Exports);
    }

    /// <summary>What the exported variable SeExports points to.</summary>
    public PSE_EXPORTS Exports { get; }

    /// <param name="text">Such as <c>S-1-5-32-544</c>.</param>
    PVOID Sid(string text)
    {
        const int header = 8;
        string[] parts = text.Split('-')[2..];
        int count = parts.Length - 1;
        ulong sid = machine.Variables.Room((ulong)(header + 4 * count));
        GuestMemory.Ref<byte>(sid) = 1;
        GuestMemory.Ref<byte>(sid + 1) = (byte)count;
        GuestMemory.Ref<byte>(sid + 7) = byte.Parse(parts[0]);
        for (int i = 0; i < count; i++) GuestMemory.Ref<uint>(sid + header + 4 * (ulong)i) = uint.Parse(parts[i + 1]);
        return new PVOID(sid);
    }

    void Fill(ref SE_EXPORTS exports)
    {
        exports.SeCreateTokenPrivilege = 2;
        exports.SeAssignPrimaryTokenPrivilege = 3;
        exports.SeLockMemoryPrivilege = 4;
        exports.SeIncreaseQuotaPrivilege = 5;
        exports.SeUnsolicitedInputPrivilege = 6;
        exports.SeTcbPrivilege = 7;
        exports.SeSecurityPrivilege = 8;
        exports.SeTakeOwnershipPrivilege = 9;
        exports.SeLoadDriverPrivilege = 10;
        exports.SeCreatePagefilePrivilege = 15;
        exports.SeIncreaseBasePriorityPrivilege = 14;
        exports.SeSystemProfilePrivilege = 11;
        exports.SeSystemtimePrivilege = 12;
        exports.SeProfileSingleProcessPrivilege = 13;
        exports.SeCreatePermanentPrivilege = 16;
        exports.SeBackupPrivilege = 17;
        exports.SeRestorePrivilege = 18;
        exports.SeShutdownPrivilege = 19;
        exports.SeDebugPrivilege = 20;
        exports.SeAuditPrivilege = 21;
        exports.SeSystemEnvironmentPrivilege = 22;
        exports.SeChangeNotifyPrivilege = 23;
        exports.SeRemoteShutdownPrivilege = 24;
        exports.SeNullSid = Sid("S-1-0-0");
        exports.SeWorldSid = Sid("S-1-1-0");
        exports.SeLocalSid = Sid("S-1-2-0");
        exports.SeCreatorOwnerSid = Sid("S-1-3-0");
        exports.SeCreatorGroupSid = Sid("S-1-3-1");
        exports.SeNtAuthoritySid = Sid("S-1-5");
        exports.SeDialupSid = Sid("S-1-5-1");
        exports.SeNetworkSid = Sid("S-1-5-2");
        exports.SeBatchSid = Sid("S-1-5-3");
        exports.SeInteractiveSid = Sid("S-1-5-4");
        exports.SeLocalSystemSid = Sid("S-1-5-18");
        exports.SeAliasAdminsSid = Sid("S-1-5-32-544");
        exports.SeAliasUsersSid = Sid("S-1-5-32-545");
        exports.SeAliasGuestsSid = Sid("S-1-5-32-546");
        exports.SeAliasPowerUsersSid = Sid("S-1-5-32-547");
        exports.SeAliasAccountOpsSid = Sid("S-1-5-32-548");
        exports.SeAliasSystemOpsSid = Sid("S-1-5-32-549");
        exports.SeAliasPrintOpsSid = Sid("S-1-5-32-550");
        exports.SeAliasBackupOpsSid = Sid("S-1-5-32-551");
        exports.SeAuthenticatedUsersSid = Sid("S-1-5-11");
        exports.SeRestrictedSid = Sid("S-1-5-12");
        exports.SeAnonymousLogonSid = Sid("S-1-5-7");
        exports.SeUndockPrivilege = 25;
        exports.SeSyncAgentPrivilege = 26;
        exports.SeEnableDelegationPrivilege = 27;
        exports.SeLocalServiceSid = Sid("S-1-5-19");
        exports.SeNetworkServiceSid = Sid("S-1-5-20");
        exports.SeManageVolumePrivilege = 28;
        exports.SeImpersonatePrivilege = 29;
        exports.SeCreateGlobalPrivilege = 30;
        exports.SeTrustedCredManAccessPrivilege = 31;
        exports.SeRelabelPrivilege = 32;
        exports.SeIncreaseWorkingSetPrivilege = 33;
        exports.SeTimeZonePrivilege = 34;
        exports.SeCreateSymbolicLinkPrivilege = 35;
        exports.SeIUserSid = Sid("S-1-5-17");
        exports.SeUntrustedMandatorySid = Sid("S-1-16-0");
        exports.SeLowMandatorySid = Sid("S-1-16-4096");
        exports.SeMediumMandatorySid = Sid("S-1-16-8192");
        exports.SeHighMandatorySid = Sid("S-1-16-12288");
        exports.SeSystemMandatorySid = Sid("S-1-16-16384");
        exports.SeOwnerRightsSid = Sid("S-1-3-4");
    }
}
