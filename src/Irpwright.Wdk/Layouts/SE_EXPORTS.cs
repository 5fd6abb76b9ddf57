using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What SeExports points to: privileges as LUIDs, and well-known SIDs. Read-only for drivers.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SE_EXPORTS
{
    public const int SizeOf = 0x208;

    [FieldOffset(0x000)] public ulong SeCreateTokenPrivilege;
    [FieldOffset(0x008)] public ulong SeAssignPrimaryTokenPrivilege;
    [FieldOffset(0x010)] public ulong SeLockMemoryPrivilege;
    [FieldOffset(0x018)] public ulong SeIncreaseQuotaPrivilege;
    [FieldOffset(0x020)] public ulong SeUnsolicitedInputPrivilege;
    [FieldOffset(0x028)] public ulong SeTcbPrivilege;
    [FieldOffset(0x030)] public ulong SeSecurityPrivilege;
    [FieldOffset(0x038)] public ulong SeTakeOwnershipPrivilege;
    [FieldOffset(0x040)] public ulong SeLoadDriverPrivilege;
    [FieldOffset(0x048)] public ulong SeCreatePagefilePrivilege;
    [FieldOffset(0x050)] public ulong SeIncreaseBasePriorityPrivilege;
    [FieldOffset(0x058)] public ulong SeSystemProfilePrivilege;
    [FieldOffset(0x060)] public ulong SeSystemtimePrivilege;
    [FieldOffset(0x068)] public ulong SeProfileSingleProcessPrivilege;
    [FieldOffset(0x070)] public ulong SeCreatePermanentPrivilege;
    [FieldOffset(0x078)] public ulong SeBackupPrivilege;
    [FieldOffset(0x080)] public ulong SeRestorePrivilege;
    [FieldOffset(0x088)] public ulong SeShutdownPrivilege;
    [FieldOffset(0x090)] public ulong SeDebugPrivilege;
    [FieldOffset(0x098)] public ulong SeAuditPrivilege;
    [FieldOffset(0x0A0)] public ulong SeSystemEnvironmentPrivilege;
    [FieldOffset(0x0A8)] public ulong SeChangeNotifyPrivilege;
    [FieldOffset(0x0B0)] public ulong SeRemoteShutdownPrivilege;
    [FieldOffset(0x0B8)] public PVOID SeNullSid;
    [FieldOffset(0x0C0)] public PVOID SeWorldSid;
    [FieldOffset(0x0C8)] public PVOID SeLocalSid;
    [FieldOffset(0x0D0)] public PVOID SeCreatorOwnerSid;
    [FieldOffset(0x0D8)] public PVOID SeCreatorGroupSid;
    [FieldOffset(0x0E0)] public PVOID SeNtAuthoritySid;
    [FieldOffset(0x0E8)] public PVOID SeDialupSid;
    [FieldOffset(0x0F0)] public PVOID SeNetworkSid;
    [FieldOffset(0x0F8)] public PVOID SeBatchSid;
    [FieldOffset(0x100)] public PVOID SeInteractiveSid;
    [FieldOffset(0x108)] public PVOID SeLocalSystemSid;
    [FieldOffset(0x110)] public PVOID SeAliasAdminsSid;
    [FieldOffset(0x118)] public PVOID SeAliasUsersSid;
    [FieldOffset(0x120)] public PVOID SeAliasGuestsSid;
    [FieldOffset(0x128)] public PVOID SeAliasPowerUsersSid;
    [FieldOffset(0x130)] public PVOID SeAliasAccountOpsSid;
    [FieldOffset(0x138)] public PVOID SeAliasSystemOpsSid;
    [FieldOffset(0x140)] public PVOID SeAliasPrintOpsSid;
    [FieldOffset(0x148)] public PVOID SeAliasBackupOpsSid;
    [FieldOffset(0x150)] public PVOID SeAuthenticatedUsersSid;
    [FieldOffset(0x158)] public PVOID SeRestrictedSid;
    [FieldOffset(0x160)] public PVOID SeAnonymousLogonSid;
    [FieldOffset(0x168)] public ulong SeUndockPrivilege;
    [FieldOffset(0x170)] public ulong SeSyncAgentPrivilege;
    [FieldOffset(0x178)] public ulong SeEnableDelegationPrivilege;
    [FieldOffset(0x180)] public PVOID SeLocalServiceSid;
    [FieldOffset(0x188)] public PVOID SeNetworkServiceSid;
    [FieldOffset(0x190)] public ulong SeManageVolumePrivilege;
    [FieldOffset(0x198)] public ulong SeImpersonatePrivilege;
    [FieldOffset(0x1A0)] public ulong SeCreateGlobalPrivilege;
    [FieldOffset(0x1A8)] public ulong SeTrustedCredManAccessPrivilege;
    [FieldOffset(0x1B0)] public ulong SeRelabelPrivilege;
    [FieldOffset(0x1B8)] public ulong SeIncreaseWorkingSetPrivilege;
    [FieldOffset(0x1C0)] public ulong SeTimeZonePrivilege;
    [FieldOffset(0x1C8)] public ulong SeCreateSymbolicLinkPrivilege;
    [FieldOffset(0x1D0)] public PVOID SeIUserSid;
    [FieldOffset(0x1D8)] public PVOID SeUntrustedMandatorySid;
    [FieldOffset(0x1E0)] public PVOID SeLowMandatorySid;
    [FieldOffset(0x1E8)] public PVOID SeMediumMandatorySid;
    [FieldOffset(0x1F0)] public PVOID SeHighMandatorySid;
    [FieldOffset(0x1F8)] public PVOID SeSystemMandatorySid;
    [FieldOffset(0x200)] public PVOID SeOwnerRightsSid;
}
