using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Po;

/// <summary>Goal: components as drivers manage them. Method: the driver's routines note what they are told, and answer at once unless told not to.</summary>
public class PowerFrameworkTests : DriverTest
{
    PVOID handle;
    bool answersLater;
    PDEVICE_OBJECT device;

    PPO_FX_DEVICE_V1 Description(params uint[] stateCounts)
    {
        PPO_FX_DEVICE_V1 description = new(Memory(0x40 + stateCounts.Length * PO_FX_COMPONENT_V1.SizeOf).Address);
        GuestMemory.Ref<uint>(description.Address) = PO_FX_VERSION_V1;
        GuestMemory.Ref<uint>(description.Address + 4) = (uint)stateCounts.Length;
        description.ComponentActiveConditionCallback = PoFxComponentActiveConditionCallbackRoutine((_, component) => Step($"active {component}"));
        description.ComponentIdleConditionCallback = PoFxComponentIdleConditionCallbackRoutine((_, component) =>
        {
            Step($"idle {component}");
            if (!answersLater) PoFxCompleteIdleCondition(handle, component);
        });
        description.ComponentIdleStateCallback = Routine((PO_FX_COMPONENT_IDLE_STATE_CALLBACK)((_, component, state) =>
        {
            Step($"F{state} {component}");
            if (!answersLater) PoFxCompleteIdleState(handle, component);
        }));
        description.DevicePowerRequiredCallback = PoFxDevicePowerRequiredCallbackRoutine(context =>
        {
            Step($"required {context.Address}");
            if (!answersLater) PoFxReportDevicePoweredOn(handle);
        });
        description.DevicePowerNotRequiredCallback = PoFxDevicePowerNotRequiredCallbackRoutine(_ =>
        {
            Step("not required");
            if (!answersLater) PoFxCompleteDevicePowerNotRequired(handle);
        });
        description.DeviceContext = new PVOID(7);
        for (int i = 0; i < stateCounts.Length; i++)
        {
            PPO_FX_COMPONENT_V1 component = new(description.Address + 0x40 + (ulong)(i * PO_FX_COMPONENT_V1.SizeOf));
            component.IdleStateCount = stateCounts[i];
            component.IdleStates = new PPO_FX_COMPONENT_IDLE_STATE(Memory(PO_FX_COMPONENT_IDLE_STATE.SizeOf * 4).Address);
        }
        return description;
    }

    PDEVICE_OBJECT NewDevice() => Device((_, irp) => Complete(irp, STATUS_SUCCESS));

    void Register(params uint[] stateCounts)
    {
        device = NewDevice();
        Assert.Equal(STATUS_SUCCESS, PoFxRegisterDevice(device, Description(stateCounts), out handle));
    }

    [Fact]
    public void Components_are_idle_when_power_management_starts_unless_the_driver_uses_them() => Run(() =>
    {
        Register(3, 1);
        Assert.Empty(Steps);
        PoFxActivateComponent(handle, 1, 0);
        PoFxStartDevicePowerManagement(handle);
        Assert.Equal(["idle 0", "F2 0"], Steps);
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void The_first_activation_and_the_last_idling_change_something() => Run(() =>
    {
        Register(2, 1);
        PoFxActivateComponent(handle, 1, 0); // keeps the device powered
        PoFxStartDevicePowerManagement(handle);
        PoFxActivateComponent(handle, 0, 0);
        PoFxActivateComponent(handle, 0, PO_FX_FLAG_BLOCKING);
        PoFxIdleComponent(handle, 0, 0);
        Assert.Equal(["idle 0", "F1 0", "F0 0", "active 0"], Steps);
        PoFxIdleComponent(handle, 0, PO_FX_FLAG_BLOCKING);
        Assert.Equal(["idle 0", "F1 0"], Steps.Skip(4));
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void A_device_without_active_components_needs_no_power_until_one_is_activated() => Run(() =>
    {
        Register(1);
        PoFxStartDevicePowerManagement(handle);
        Eventually(() => Steps.Contains("not required"));
        PoFxActivateComponent(handle, 0, PO_FX_FLAG_BLOCKING);
        Assert.Equal(["idle 0", "not required", "required 7", "active 0"], Steps);
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void What_waits_for_the_idle_time_waits_in_vain_if_the_device_is_used() => Run(() =>
    {
        Register(1);
        PoFxSetDeviceIdleTimeout(handle, 50_000_000);
        PoFxStartDevicePowerManagement(handle);
        PoFxActivateComponent(handle, 0, 0);
        PoFxIdleComponent(handle, 0, 0);
        Assert.Equal(["idle 0", "active 0", "idle 0"], Steps);
        long begun = Machine.Scheduler.InterruptTime;
        Eventually(() => Steps.Contains("not required"));
        Assert.True(Machine.Scheduler.InterruptTime >= begun + 50_000_000);
        Assert.Equal(1, Steps.Count(s => s == "not required"));
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void The_driver_may_answer_later() => Run(() =>
    {
        answersLater = true;
        Register(2);
        PoFxStartDevicePowerManagement(handle);
        PoFxActivateComponent(handle, 0, 0); // while it is becoming idle
        Assert.Equal(["idle 0"], Steps);
        PoFxCompleteIdleCondition(handle, 0);
        Assert.Equal(["idle 0", "active 0"], Steps);
        PoFxIdleComponent(handle, 0, 0);
        PoFxCompleteIdleCondition(handle, 0);
        PoFxActivateComponent(handle, 0, 0); // while its state is changing
        PoFxCompleteIdleState(handle, 0);
        PoFxCompleteIdleState(handle, 0);
        Assert.Equal(["idle 0", "F1 0", "F0 0", "active 0"], Steps.Skip(2));
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void An_asynchronous_activation_happens_in_another_thread() => Run(() =>
    {
        Register(2, 1);
        PoFxActivateComponent(handle, 1, 0);
        PoFxStartDevicePowerManagement(handle);
        KeRaiseIrql(DISPATCH_LEVEL, out byte old);
        PoFxActivateComponent(handle, 0, PO_FX_FLAG_ASYNC_ONLY);
        KeLowerIrql(old);
        Eventually(() => Steps.Contains("active 0"));
        Assert.Equal(["idle 0", "F1 0", "F0 0", "active 0"], Steps);
        PoFxUnregisterDevice(handle);
    });

    [Fact]
    public void Descriptions_that_make_no_sense_are_refused() => Run(() =>
    {
        Assert.Equal(STATUS_INVALID_PARAMETER, PoFxRegisterDevice(default, Description(1), out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, PoFxRegisterDevice(NewDevice(), Description(), out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, PoFxRegisterDevice(NewDevice(), Description(1, 0), out _));
        PPO_FX_DEVICE_V1 silent = Description(2);
        silent.ComponentIdleStateCallback = default;
        Assert.Equal(STATUS_INVALID_PARAMETER, PoFxRegisterDevice(NewDevice(), silent, out _));
    });

    [Fact]
    public void A_device_is_registered_once() => Assert.Equal(0x600ul, Stops(INTERNAL_POWER_ERROR, () =>
    {
        Register(1);
        PoFxRegisterDevice(device, Description(1), out _);
    }).Parameter1);

    [Fact]
    public void A_component_that_was_not_activated_cannot_be_idled() => Assert.Equal(0x608ul, Stops(INTERNAL_POWER_ERROR, () =>
    {
        Register(1);
        PoFxStartDevicePowerManagement(handle);
        PoFxIdleComponent(handle, 0, 0);
    }).Parameter1);

    [Fact]
    public void Nobody_asked_for_the_completion() => Assert.Equal(0x613ul, Stops(INTERNAL_POWER_ERROR, () =>
    {
        Register(1);
        PoFxCompleteIdleCondition(handle, 0);
    }).Parameter1);

    [Theory]
    [InlineData(0u, PO_FX_FLAG_BLOCKING, 0ul)]
    [InlineData(0u, PO_FX_FLAG_BLOCKING | PO_FX_FLAG_ASYNC_ONLY, 0ul)]
    [InlineData(1u, 0u, 2ul)]
    public void Parameters_of_an_activation_are_checked(uint component, uint flags, ulong problem)
    {
        BugCheckReport report = Stops(INTERNAL_POWER_ERROR, () =>
        {
            Register(1);
            KeRaiseIrql(DISPATCH_LEVEL, out _);
            PoFxActivateComponent(handle, component, flags);
        });
        Assert.Equal((0x614ul, problem), (report.Parameter1, report.Parameter4));
    }
}
